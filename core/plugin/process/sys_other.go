//go:build unix && !linux

package process

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func processGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit has no portable form; the group is then killed after the plugin was reaped.
func awaitExit(int) bool { return false }

func killGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }

func kill(pid int) { _ = unix.Kill(pid, unix.SIGKILL) }

func group() int { return unix.Getpgrp() }

func adopt() {}

func closeInherited() {}

func reapGroup(int) {}

func reapOrphans([]int) bool { return false }

func hold(dir *os.File) bool { return unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil }

// execPath has no portable form; the file is then executed by its name.
func execPath(*os.File) (string, *os.File, error) { return "", nil, errors.ErrUnsupported }
