// SPDX-License-Identifier: GPL-2.0

package images

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/u-root/mkuimage/cpio"
)

// File is a file of the host that an archive brings into the guest.
type File struct {
	// Host is its path here.
	Host string
	// Mode is its permissions there.
	Mode os.FileMode
}

// Archive writes a cpio archive with these files, by their paths in the guest.
// The kernel unpacks it over the base archive that [Cache.Initramfs] makes, if
// QEMU's -initrd names the two joined.
func Archive(name string, files map[string]File) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	defer os.Remove(f.Name())
	buffered := bufio.NewWriterSize(f, 1<<20)
	err = writeArchive(cpio.Newc.Writer(buffered), files)
	if err := errors.Join(err, buffered.Flush(), f.Close()); err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}
	return os.Rename(f.Name(), name)
}

// writeArchive writes the files and the folders they are in, in a fixed order.
func writeArchive(w cpio.RecordWriter, files map[string]File) error {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		inside := path.Clean(strings.TrimPrefix(name, "/"))
		// These are links in the base archive, and a folder would replace them.
		if strings.HasPrefix(inside, "usr/") || inside == ".." || strings.HasPrefix(inside, "../") {
			return fmt.Errorf("%s: a file cannot go there, use /bin, /sbin, /lib or a folder of its own", name)
		}
		if err := writeDirs(w, path.Dir(inside)); err != nil {
			return err
		}
		data, err := os.ReadFile(files[name].Host)
		if err != nil {
			return err
		}
		record := cpio.StaticFile(inside, string(data), uint64(files[name].Mode.Perm()))
		if err := w.WriteRecord(record); err != nil {
			return err
		}
	}
	return cpio.WriteTrailer(w)
}

// writeDirs writes the folders above a file, the topmost first. The writer
// leaves out what it wrote before.
func writeDirs(w cpio.RecordWriter, dir string) error {
	if dir == "." {
		return nil
	}
	if err := writeDirs(w, path.Dir(dir)); err != nil {
		return err
	}
	return w.WriteRecord(cpio.Directory(dir, 0o755))
}
