// SPDX-License-Identifier: GPL-2.0

// Guest measures, in the VM, what capturing costs. It reads what to do from /in/plan.json and leaves its report
// in /out/report.json; what it prints is for people who wait.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"ksnif/bench"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 1 && args[0] == hourglassArg {
		return runHourglass()
	}
	if len(args) == 1 && args[0] == echoArg {
		return runEcho()
	}
	b, err := os.ReadFile("/in/" + bench.PlanFile)
	if err != nil {
		return err
	}
	var plan bench.Plan
	if err := json.Unmarshal(b, &plan); err != nil {
		return fmt.Errorf("%s: %w", bench.PlanFile, err)
	}
	if err := makeDevice(); err != nil {
		return err
	}
	report := bench.Report{Part: plan.Part, Tests: plan.Tests}
	switch plan.Part {
	case "cost":
		report.Rows, err = cost(plan)
	case "scale":
		report.Rows, err = scale(plan)
	case "latency":
		report.Rows, err = latency(plan)
	case "cpus":
		report.Rows, err = cpus(plan)
	case "memory":
		report.Rows, err = memory(plan)
	case "lines":
		report.Rows, err = lines(plan)
	case "slides":
		report.Rows, report.Machine.DiskRate, err = slides(plan)
	}
	if err != nil {
		return err
	}
	if len(report.Rows) == 0 {
		return fmt.Errorf("%s: nothing was measured", plan.Part)
	}
	return report.Write("/out/" + bench.ReportFile)
}
