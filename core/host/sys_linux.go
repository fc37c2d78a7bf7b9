package host

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// processGroup puts a plugin in a group of its own: Ctrl-C does not reach it, and its children can be
// killed with it. When the thread that started it ends, and so when the runner does, it gets SIGTERM,
// which core/sdk answers by ending its whole group; the pipe of wire.EnvParentFD says the same.
func processGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// awaitExit returns when a child has ended, leaving it a zombie so that its pid, which names its
// process group, cannot yet be anybody else's. False: it cannot tell.
func awaitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil
		}
	}
}

func killGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }
