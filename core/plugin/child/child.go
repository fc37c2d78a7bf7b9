package child

import (
	"bufio"
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

// DrainWait limits how long the pipes of an ended plugin are read. A grandchild that left the process group may
// hold them open for ever.
const DrainWait = time.Second

// Runner runs a plugin's process for go-plugin. Unlike go-plugin's own runner it gives no stdin, knows
// of the end of the process at once (and not only when its pipes are closed), and ends its children
// with it.
type Runner struct {
	cmd            *exec.Cmd
	marker         string   // of its family
	stdout, stderr *os.File // our ends
	handshake      io.ReadCloser
	rest           io.Writer // takes what comes on stdout after the handshake
	exited         chan struct{}
	mu             sync.Mutex
	running        bool
	killed         bool // Kill was called, perhaps before the start
	foreign        bool // see Foreign
	foreignPID     int
}

var _ plugin.Runner = (*Runner)(nil)

// New prepares a process in a group of its own. What it writes to stdout after the handshake goes to rest.
func New(cmd *exec.Cmd, rest io.Writer) *Runner {
	c := &Runner{cmd: cmd, marker: newMarker(), rest: rest, exited: make(chan struct{})}
	cmd.Env = append(cmd.Env, markerEnv+"="+c.marker)
	cmd.SysProcAttr = processGroup()
	return c
}

// Foreign stands for a process that somebody else started and ends; pid 0: not known which. Kill only lets go of it: the
// channel of Exited is then closed.
func Foreign(pid int) *Runner {
	return &Runner{foreign: true, foreignPID: pid, exited: make(chan struct{})}
}

// Start starts the process from a thread that lives as long as the process, because the signal at the parent's
// death takes the thread for the parent.
func (c *Runner) Start(context.Context) error {
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

func (c *Runner) start() error {
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
	closeInherited()
	if err := startKnown(c.cmd); err != nil {
		return errors.Join(err, out.Close(), errR.Close())
	}
	c.handshake = firstLine(out, c.rest)
	c.running = true
	if c.killed {
		killGroup(c.cmd.Process.Pid)
	}
	return nil
}

func (c *Runner) reap() {
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
	endFamily(pid, c.marker)
	known.Delete(pid)
	time.AfterFunc(DrainWait, func() {
		c.stdout.Close()
		c.stderr.Close()
	})
}

// Wait returns when the process has ended.
func (c *Runner) Wait(context.Context) error {
	<-c.exited
	if !c.cmd.ProcessState.Success() {
		return errors.New(c.cmd.ProcessState.String())
	}
	return nil
}

// Exited returns a channel that is closed when the process has ended.
func (c *Runner) Exited() <-chan struct{} { return c.exited }

// State returns how the process has ended. It may be called once Exited is closed.
func (c *Runner) State() *os.ProcessState { return c.cmd.ProcessState }

// AddEnv adds to the environment before the start.
func (c *Runner) AddEnv(env ...string) { c.cmd.Env = append(c.cmd.Env, env...) }

// Kill ends the process and its group.
func (c *Runner) Kill(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.foreign && !c.killed {
		close(c.exited)
	}
	c.killed = true
	if c.running {
		killGroup(c.cmd.Process.Pid)
	}
	return nil
}

// PID returns the process id; 0 before the start.
func (c *Runner) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.foreign {
		return c.foreignPID
	}
	if c.cmd.Process == nil {
		return 0
	}
	return c.cmd.Process.Pid
}

// Stdout returns the handshake, a line.
func (c *Runner) Stdout() io.ReadCloser { return c.handshake }
func (c *Runner) Stderr() io.ReadCloser { return c.stderr }
func (c *Runner) Name() string          { return c.cmd.Path }

// ID never returns an empty string, so that go-plugin cleans up after a process that did not start.
func (c *Runner) ID() string { return fmt.Sprint(c.PID()) }

// Diagnose adds nothing: core/plugin/process words its own errors.
func (c *Runner) Diagnose(context.Context) string { return "" }

// PluginToHost and HostToPlugin translate nothing: both sides share a file system.
func (c *Runner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin does what PluginToHost does, the other way round.
func (c *Runner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// Run runs a program until it ends or ctx does, and ends its descendants with it. Its environment is
// Environment(0).
func Run(ctx context.Context, stdout, stderr io.Writer, path string, args ...string) error {
	return RunConfined(ctx, Confinement{}, nil, stdout, stderr, path, args...)
}

// RunConfined does what Run does, within limits and with more of an environment, as KEY=value.
func RunConfined(ctx context.Context, limits Confinement, env []string, stdout, stderr io.Writer, path string, args ...string) error {
	cmd := exec.CommandContext(ctx, path, args...)
	marker := newMarker()
	cmd.Env = append(append(Environment(0), env...), markerEnv+"="+marker)
	if cmd.Err == nil && limits.applies() {
		cmd.Path, cmd.Args, cmd.Env, cmd.ExtraFiles = orderOf(limits, cmd.Path, cmd.Args, cmd.Env, nil, nil)
	}
	cmd.SysProcAttr = processGroup()
	cmd.Cancel = func() error { killGroup(cmd.Process.Pid); return cmd.Process.Kill() }
	cmd.WaitDelay = time.Second
	cmd.Stdout, cmd.Stderr = stdout, stderr
	closeInherited()
	if err := startKnown(cmd); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	err := cmd.Wait()
	endFamily(pid, marker)
	known.Delete(pid)
	return err
}

// maxHandshake limits the length of the handshake's line in bytes.
const maxHandshake = 4 << 10

// firstLine returns a reader of the first line of r (or of the beginning of a very long line) and writes all
// that follows to rest. Otherwise a plugin that prints more than its handshake would wait for a pipe that
// nobody reads.
func firstLine(r io.ReadCloser, rest io.Writer) io.ReadCloser {
	ours, w := io.Pipe()
	go func() {
		in := bufio.NewReaderSize(r, maxHandshake)
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			line = append(line[:len(line):len(line)], '\n')
		}
		_, _ = w.Write(line)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			w.Close()
			return
		}
		_, _ = io.Copy(rest, in)
		w.Close()
	}()
	return ours
}
