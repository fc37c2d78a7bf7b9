package main

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// suspend stops the process, and returns when it goes on. The signal is sent to this thread, which so stops before the
// call returns; of one sent to the process any thread may take note, and this one would run on for a while. To wait for
// SIGCONT instead is no way out: a second Ctrl-Z discards one that is not delivered yet.
func suspend() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
}
