// SPDX-License-Identifier: GPL-2.0

// Command mk makes and names what ksnif's virtual machines boot.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"ksnif/images"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ksnif:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: mk kernel|initramfs NAME")
	}
	cache, err := images.OpenCache(os.Stderr)
	if err != nil {
		return err
	}
	if args[0] == "headers32" {
		kdir, err := cache.Headers32(ctx)
		if err == nil {
			fmt.Println(kdir)
		}
		return err
	}
	k, err := cache.Kernel(ctx, args[1])
	if err != nil {
		return err
	}
	if args[0] == "kernel" {
		fmt.Printf("RELEASE=%s\nIMAGE=%s\nKDIR=%s\n", k.Release, k.Image, k.KDIR)
		return nil
	}
	file, err := cache.Initramfs(ctx, k)
	if err != nil {
		return err
	}
	fmt.Println(file)
	return nil
}
