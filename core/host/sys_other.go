//go:build unix && !linux

package host

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func processGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit has no portable form; the group is then killed after the plugin was reaped.
func awaitExit(int) bool { return false }

func killGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }
