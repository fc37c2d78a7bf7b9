package child

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// processGroup puts a plugin in a group of its own: Ctrl-C does not reach it, and its children can be
// killed with it. When the thread that started it ends, and so when the runner does, it gets SIGTERM,
// which core/plugin/sdk answers by ending its whole group; the pipe of wire.EnvParentFD says the same.
func processGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// awaitExit returns when a child has ended. The child stays a zombie, so that its pid, which names its process
// group, cannot yet be anybody else's. It returns false when it cannot tell.
func awaitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil
		}
	}
}

func killGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }

func kill(pid int) { _ = unix.Kill(pid, unix.SIGKILL) }

func group() int { return unix.Getpgrp() }

// adopt makes this process the parent of its plugins' orphans, so that it finds them.
func adopt() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// closeInherited makes sure that a plugin gets no descriptor that is not meant for it, such as those that the
// runner inherited or a library opened.
func closeInherited() {
	if unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// reapGroup waits for the ended members of a group that this process became the parent of.
func reapGroup(pgid int) {
	for range 200 {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-pgid, &status, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR || err == nil && pid > 0:
		case err != nil:
			return
		default:
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// reapOrphans waits for those of some processes that have ended. It returns false when none of this process's
// is left.
func reapOrphans(pids []int) (left bool) {
	for _, pid := range pids {
		if _, ours := known.Load(pid); ours {
			continue
		}
		var status unix.WaitStatus
		if got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil); err == nil && got == 0 {
			left = true
		}
	}
	return left
}

// ExecPath returns a path by which a child executes an open file. The descriptor has a high number, where none
// that is passed takes its place, and closes when it is executed.
func ExecPath(f *os.File) (path string, hold *os.File, err error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 100)
	if err != nil {
		return "", nil, err
	}
	path = fmt.Sprintf("/proc/self/fd/%d", fd)
	if _, err := os.Stat(path); err != nil {
		unix.Close(fd)
		return "", nil, err
	}
	return path, os.NewFile(uintptr(fd), f.Name()), nil
}

// allowedProcessor reports whether this process may run on a processor.
func allowedProcessor(n int) bool {
	var set unix.CPUSet
	return unix.SchedGetaffinity(0, &set) != nil || set.IsSet(n)
}
