// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ksnif/vmtest/hostcheck"
	"ksnif/vmtest/proto"
)

// HostCheck checks, on the host, the capture files that tests in the VM left. Each is a test of its own: one that
// passed in the VM and left no file fails here. A result without any such test gives none.
func (h *Harness) HostCheck(ctx context.Context, guest *Result) (*Result, error) {
	res := &Result{Where: guest.Where + "-files"}
	start := time.Now()
	for _, name := range hostcheck.Tests() {
		passed := slices.ContainsFunc(guest.Tests, func(t *Test) bool { return t.Name == name && t.Result == proto.Pass })
		if !passed {
			continue
		}
		h.Progress.Status("check %s", name)
		t := &Test{Name: "hostcheck/" + name, Result: proto.Pass}
		began := time.Now()
		if err := checkFile(ctx, h.out("vmtest", guest.Where), name); err != nil {
			t.fail(err.Error())
		}
		t.Seconds = time.Since(began).Seconds()
		h.Progress.test(t)
		res.Tests = append(res.Tests, t)
	}
	res.Seconds = time.Since(start).Seconds()
	if len(res.Tests) == 0 {
		return res, ctx.Err()
	}
	if err := res.Write(h.out("vmtest", res.Where, "result.json")); err != nil {
		return res, err
	}
	return res, ctx.Err()
}

func checkFile(ctx context.Context, dir, test string) error {
	file, err := hostcheck.Find(dir, test)
	if err != nil {
		return err
	}
	if err := hostcheck.Check(ctx, file); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
