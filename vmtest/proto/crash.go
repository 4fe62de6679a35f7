// SPDX-License-Identifier: GPL-2.0

package proto

// CrashWord starts the lines, on its standard output, in which a machine that is to be killed says what it does. The
// rest of the line is a [Step].
const CrashWord = "crash: "

// The steps of a capture, in order; flushing and flushed come several times. At ready there is none yet, and the machine
// waits for a line on its input.
const (
	StepReady    = "ready"
	StepStarting = "starting"
	StepStarted  = "started"
	StepFlushing = "flushing"
	StepFlushed  = "flushed"
	StepStopping = "stopping"
	StepStopped  = "stopped"
)

// Step says how far a capture is, and what has to be in its file from now on, whatever happens.
type Step struct {
	Name string `json:"name"`
	Kept Kept   `json:"kept"`
}

// Kept is what has to be in a capture file after a crash. The packets are numbered.
type Kept struct {
	File    string `json:"file"`              // its name
	Started bool   `json:"started,omitempty"` // start had returned
	Sent    uint64 `json:"sent,omitempty"`    // then: no later number was sent before
	Packets uint64 `json:"packets,omitempty"` // at least so many packets are in the file
	Stopped bool   `json:"stopped,omitempty"` // then: no more than these, and the file is whole
}

// Disk is the disk of a machine that was killed.
type Disk struct {
	Serial string `json:"serial"` // of the virtio disk
	Moment string `json:"moment"` // when it was killed
	Files  []Kept `json:"files"`
}

// Files in which the list of disks, in DirIn, and what was found there, in DirOut, are handed over: a list of [Disk],
// and the numbers of packets by the name that the copy of a capture file has there.
const (
	DisksFile = "disks.json"
	FoundFile = "found.json"
)
