package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	plugin "github.com/hashicorp/go-plugin/runner"
)

// drainWait is how long the pipes of an ended plugin are read: a grandchild that left the process
// group may hold them open for ever.
const drainWait = time.Second

// child runs a plugin's process for go-plugin. Unlike go-plugin's own runner it gives no stdin, knows
// of the end of the process at once (and not only when its pipes are closed), and ends its children
// with it.
type child struct {
	cmd            *exec.Cmd
	stdout, stderr *os.File // our ends
	exited         chan struct{}
	mu             sync.Mutex
	running        bool
	killed         bool // Kill was called, perhaps before the start
}

var _ plugin.Runner = (*child)(nil)

func newChild(cmd *exec.Cmd) *child { return &child{cmd: cmd, exited: make(chan struct{})} }

// Start starts the process from a thread of its own that lives as long as the process: the signal at
// the parent's death counts the thread as the parent.
func (c *child) Start(context.Context) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.start()
		started <- err
		if err == nil {
			c.reap()
		}
	}()
	return <-started
}

func (c *child) start() error {
	out, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return errors.Join(err, out.Close(), outW.Close())
	}
	defer outW.Close()
	defer errW.Close()
	c.stdout, c.stderr = out, errR
	c.cmd.Stdout, c.cmd.Stderr = outW, errW // files: exec makes no goroutines that Wait would wait for
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.cmd.Start(); err != nil {
		return errors.Join(err, out.Close(), errR.Close())
	}
	c.running = true
	if c.killed {
		killGroup(c.cmd.Process.Pid)
	}
	return nil
}

func (c *child) reap() {
	pid := c.cmd.Process.Pid
	waited := !awaitExit(pid)
	if waited {
		_ = c.cmd.Wait()
	}
	c.mu.Lock()
	killGroup(pid)
	if !waited {
		_ = c.cmd.Wait() // the status stays in ProcessState
	}
	c.running = false
	c.mu.Unlock()
	close(c.exited)
	time.AfterFunc(drainWait, func() {
		c.stdout.Close()
		c.stderr.Close()
	})
}

// Wait returns when the process has ended.
func (c *child) Wait(context.Context) error {
	<-c.exited
	if !c.cmd.ProcessState.Success() {
		return errors.New(c.cmd.ProcessState.String())
	}
	return nil
}

// Kill ends the process and its group.
func (c *child) Kill(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed = true
	if c.running {
		killGroup(c.cmd.Process.Pid)
	}
	return nil
}

func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd.Process == nil {
		return 0
	}
	return c.cmd.Process.Pid
}

func (c *child) Stdout() io.ReadCloser { return c.stdout }
func (c *child) Stderr() io.ReadCloser { return c.stderr }
func (c *child) Name() string          { return c.cmd.Path }

// ID is never empty, so that go-plugin cleans up after a process that did not start.
func (c *child) ID() string { return fmt.Sprint(c.pid()) }

// Diagnose adds nothing: Process words its own errors.
func (c *child) Diagnose(context.Context) string { return "" }

// PluginToHost and HostToPlugin translate nothing: both sides share a file system.
func (c *child) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin is PluginToHost the other way round.
func (c *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
