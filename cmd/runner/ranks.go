package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"tandem/core/experiment/collective"
	"tandem/core/experiment/collective/mpi"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/run"
	"tandem/core/fault"
)

// onRanks marks the commands that several ranks do together. Of all others rank 0 alone does what is to be done.
const onRanks = "ranks"

// rank returns the rank of this process among those that mpirun or srun started; 0 of one that is alone.
func rank() int {
	launch, several := mpi.Detect(os.Environ())
	if !several {
		return 0
	}
	return launch.Rank
}

// together calls lead on rank 0, while the other ranks take part in the runs that it makes; alone it calls lead. jobs is how many
// trials of a sweep are to run at a time.
func (a *app) together(ctx context.Context, jobs int, lead func() error) error {
	launch, several := mpi.Detect(os.Environ())
	if !several {
		return lead()
	}
	if jobs > 1 {
		return usage{fault.New(fault.Invalid, "--jobs %d with %d ranks: ranks make one trial at a time, together", jobs, launch.Size).
			WithHint("leave out --jobs; for more trials at a time start them without mpirun")}
	}
	g, err := mpi.Open(ctx)
	if err != nil {
		return err
	}
	if a.ranks, err = lab.Gather(ctx, g); err != nil {
		return err
	}
	if !a.ranks.Several() {
		return lead()
	}
	if g.Rank() > 0 {
		return a.follow(ctx, g)
	}
	err = lead()
	if g.Cause() == nil {
		if left := errors.Join(run.Dismiss(ctx, g), g.Close()); err == nil {
			err = left
		}
	}
	if cause := g.Cause(); cause != nil && (err == nil || errors.Is(err, errInterrupted)) && !a.hasty {
		return cause
	}
	return err
}

// hurry tells the other ranks that this one ends at once, where ctx says so.
func (a *app) hurry(ctx context.Context) {
	if ctx.Err() != nil && a.ranks.Several() {
		a.hasty = true
		a.ranks.Group.Abort(errors.New("it was interrupted"))
	}
}

// follow takes part in what rank 0 does.
func (a *app) follow(parent context.Context, g collective.Group) error {
	ctx, stop, end := interruptible(parent, func() {})
	defer end()
	err := run.Follow(ctx, a.lab(), stop)
	if err == nil {
		return g.Close()
	}
	if ctx.Err() != nil {
		a.hurry(ctx)
		return errInterrupted
	}
	if g.Cause() == nil {
		g.Abort(err)
	}
	return err
}

// sayRanks tells how many ranks there are, and where.
func (a *app) sayRanks(say func(string)) {
	if a.ranks.Several() {
		say(fmt.Sprintf("%d ranks: %s; each computes with %s unless the spec says", len(a.ranks.Places), collective.Hosts(a.ranks.Places), cores(a.ranks.Cores)))
	}
}

func cores(n int) string {
	if n == 1 {
		return "1 thread"
	}
	return fmt.Sprintf("%d threads", n)
}

// asRank has a process that is not rank 0 keep quiet but for errors, which it marks as its own. It reports whether there is nothing for
// it to do.
func asRank(n int, root *cobra.Command, given []string, stdout, stderr *io.Writer) (idle bool) {
	*stdout, *stderr = io.Discard, &prefixed{out: *stderr, prefix: fmt.Sprintf("rank %d: ", n)}
	c, _, err := root.Find(given)
	return err != nil || c.Annotations[onRanks] == ""
}

// prefixed writes whole lines, each with a prefix, so that those of several processes can be told apart.
type prefixed struct {
	mu     sync.Mutex
	out    io.Writer
	prefix string
	rest   []byte // of a line that is not whole yet
}

// Write implements io.Writer.
func (p *prefixed) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = append(p.rest, data...)
	end := bytes.LastIndexByte(p.rest, '\n')
	if end < 0 {
		return len(data), nil
	}
	lines := p.prefix + strings.ReplaceAll(string(p.rest[:end]), "\n", "\n"+p.prefix) + "\n"
	p.rest = append(p.rest[:0], p.rest[end+1:]...)
	_, err := io.WriteString(p.out, lines)
	return len(data), err
}
