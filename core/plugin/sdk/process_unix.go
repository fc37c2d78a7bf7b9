//go:build unix

package sdk

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// keepStdoutForHandshake moves fd 1, where go-plugin's handshake must go, to another descriptor
// behind os.Stdout, and puts stderr in its place. After the handshake the runner reads no more than
// lines from stdout; a C library that prints 64 KiB without a newline would hang the plugin.
func keepStdoutForHandshake() error {
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	if err := unix.Dup2(2, 1); err != nil {
		return err
	}
	os.Stdout = os.NewFile(uintptr(fd), "handshake")
	return nil
}

func closeOnExec(fd int) { unix.CloseOnExec(fd) }

// onTerminate calls end on a SIGTERM that comes when the runner is gone, and ignores SIGINT and any other SIGTERM. Ctrl-C, and a batch system
// that ends a job, reach the runner too, which writes a checkpoint with the plugins' help first and then stops them.
func onTerminate(end func()) {
	signal.Ignore(syscall.SIGINT)
	terminated := make(chan os.Signal, 1)
	runner := os.Getppid()
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		for range terminated {
			if os.Getppid() != runner {
				end()
			}
		}
	}()
}

func killFamily() {
	if unix.Getpgrp() == os.Getpid() { // else it is somebody else's group
		_ = unix.Kill(0, unix.SIGKILL)
	}
}
