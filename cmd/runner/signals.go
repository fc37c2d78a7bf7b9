package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"tandem/core/results/store"
)

// endings returns the signals by which a person or a machine ends a command. SIGHUP, for a terminal that is closed or a connection
// that is lost, is one of them unless nohup had it ignored. SIGUSR2 is what Slurm is asked to send before a job's time is over, and what
// mpirun passes on to all ranks.
func endings() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGUSR2}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// interruptible returns a channel that closes with the first Ctrl-C, and a context that ends with the second; a third ends the
// program. The first calls first too. SIGTERM counts like Ctrl-C. A closed terminal and a reader of the output that is gone (| head)
// count as the first only, since both come several times over.
func interruptible(parent context.Context, first func()) (ctx context.Context, stop <-chan struct{}, end func()) {
	ctx, cancel := context.WithCancel(parent)
	signals, pipes := make(chan os.Signal, 8), make(chan os.Signal, 1)
	signal.Notify(signals, endings()...)
	signal.Notify(pipes, syscall.SIGPIPE) // for good: what is said last must not end the program either
	wake := suspendable()
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		for n := 0; ; {
			var s os.Signal
			select {
			case <-done:
				return
			case s = <-signals:
			case s = <-pipes:
			}
			switch {
			case s == syscall.SIGPIPE && !outputGone(): // of a connection to a plugin
				continue
			case (s == syscall.SIGPIPE || s == syscall.SIGHUP) && n > 0:
				continue
			}
			switch n++; n {
			case 1:
				close(stopped)
				first()
			case 2:
				cancel()
			default:
				os.Exit(exitInterrupted)
			}
		}
	}()
	return ctx, stopped, func() { signal.Stop(signals); wake(); close(done); cancel() }
}

// outputGone reports whether nobody reads stdout or stderr any more.
func outputGone() bool {
	fds := []unix.PollFd{{Fd: int32(os.Stdout.Fd())}, {Fd: int32(os.Stderr.Fd())}}
	if n, err := unix.Poll(fds, 0); err != nil || n == 0 {
		return false
	}
	return (fds[0].Revents|fds[1].Revents)&unix.POLLERR != 0
}

// canceled returns a context that ends with the first Ctrl-C, for commands with nothing to save.
func canceled() (context.Context, func()) {
	ctx, end := signal.NotifyContext(context.Background(), endings()...)
	wake := suspendable()
	return ctx, func() { wake(); end() }
}

// suspendable has Ctrl-Z suspend the process between two transactions: in the midst of one it would keep all others from
// the database until it goes on.
func suspendable() (end func()) {
	if signal.Ignored(syscall.SIGTSTP) {
		return func() {}
	}
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGTSTP)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-signals:
				store.Still(suspend)
			}
		}
	}()
	return func() { signal.Stop(signals); close(done) }
}
