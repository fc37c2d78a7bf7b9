//go:build unix && !linux

package child

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func processGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit has no portable form. The group is killed after the plugin was reaped.
func awaitExit(int) bool { return false }

func killGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }

func kill(pid int) { _ = unix.Kill(pid, unix.SIGKILL) }

func group() int { return unix.Getpgrp() }

func adopt() {}

func closeInherited() {}

func reapGroup(int) {}

func reapOrphans([]int) bool { return false }

// ExecPath has no portable form. The file is executed by its name.
func ExecPath(*os.File) (string, *os.File, error) { return "", nil, errors.ErrUnsupported }

func allowedProcessor(int) bool { return true }
