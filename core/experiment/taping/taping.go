// Package taping records what a run says to one of its plugins, and what the plugin answers, on a tape
// (core/plugin/tape). The run is a real one, with the steps, evaluations and checkpoints that the spec asks for; its numbers
// are kept nowhere.
package taping

import (
	"cmp"
	"context"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/run"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/files/leftover"
	"tandem/core/plugin/lock"
	"tandem/core/plugin/tape"
	"tandem/core/plugin/wire"
	"tandem/core/results/store"
)

// Options says what is recorded.
type Options struct {
	Plugin string // its role in the run (image, text, loss, data.train, eval.NAME), its name, or its path as the spec has it
	Steps  int    // the run ends after so many; 0: where it would
	File   string // the tape
}

// Recording tells what is on a tape.
type Recording struct {
	File    string `json:"file"`
	Role    string `json:"role"`
	Plugin  string `json:"plugin"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Steps   int    `json:"steps"`
	Calls   int    `json:"calls"`
	Bytes   int64  `json:"bytes"`
}

// Record trains a spec and tapes the calls of one plugin. What was taped until an error, or until stop closed, is on the
// tape all the same.
func Record(ctx context.Context, c lab.Lab, s *spec.Spec, o Options, stop <-chan struct{}, w run.Watcher) (_ *Recording, err error) {
	if err := assemble.CheckDevices(s); err != nil {
		return nil, err
	}
	used, err := c.Plugins(s)
	if err != nil {
		return nil, err
	}
	p, err := choose(used, o.Plugin)
	if err != nil {
		return nil, err
	}
	dir, release, err := leftover.Dir("tandem-record-")
	if err != nil {
		return nil, fault.New(fault.Exhausted, "%w", err)
	}
	defer release()
	c.DB, c.RunsDir = filepath.Join(dir, "record.db"), filepath.Join(dir, "runs")
	db, err := store.Open(c.DB)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	record, err := db.Begin(ctx, assemble.Meta(s, used, s.Identity(used.Digests()), 0))
	if err != nil {
		return nil, err
	}
	to, err := tape.Create(o.File, tape.Header{Kind: p.Descriptor.Kind, Plugin: p.Binary.Ref(), Version: p.Descriptor.Version,
		SHA256: p.Binary.SHA256, Path: p.Binary.Path, Protocol: p.Descriptor.Protocol, Role: p.Role, Threads: assemble.Threads(s, 0)[p.Role], Python: s.Python,
		Spec: s.YAML(false), Platform: lock.Platform(), Began: time.Now()})
	if err != nil {
		return nil, err
	}
	h := &halting{Watcher: w, after: o.Steps, tape: to, halt: make(chan struct{})}
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-stop:
			h.end()
		case <-over:
		}
	}()
	out, runErr := run.Attempt{Spec: s, Record: record, From: lab.Checkpoint{Step: -1}, Plugins: used, Tap: func(role string) func(wire.Heard) {
		if role != p.Role {
			return nil
		}
		return to.Tap()
	}}.Do(ctx, c, h.halt, h)
	closeErr := to.Close()
	calls, bytes := to.Size()
	r := &Recording{File: o.File, Role: p.Role, Plugin: p.Binary.Ref(), Version: p.Descriptor.Version, SHA256: p.Binary.SHA256,
		Steps: out.Result.Steps, Calls: calls, Bytes: bytes}
	return r, cmp.Or(closeErr, runErr)
}

// choose returns the plugin of a run that a word means.
func choose(used assemble.Plugins, word string) (assemble.Plugin, error) {
	var found assemble.Plugins
	var all []string
	for _, p := range used {
		if p.Role == word {
			return p, nil
		}
		if p.Binary.Ref() == word || p.Binary.Name == word || p.Binary.Path == word {
			found = append(found, p)
		}
		all = append(all, p.Role+" ("+p.Binary.Ref()+")")
	}
	switch len(found) {
	case 0:
		return assemble.Plugin{}, fault.New(fault.NotFound, "the run has no plugin %q", word).WithHint("it has %s", strings.Join(all, ", "))
	case 1:
		return found[0], nil
	}
	var roles []string
	for _, p := range found {
		roles = append(roles, p.Role)
	}
	return assemble.Plugin{}, fault.New(fault.Invalid, "the run has %d plugins %s", len(found), word).
		WithHint("name the one by what it is there: %s", strings.Join(roles, ", "))
}

// halting ends a run after some steps, or when the tape can hold no more.
type halting struct {
	run.Watcher
	after int
	tape  *tape.Writer
	halt  chan struct{}
	once  sync.Once
}

// Step implements run.Watcher.
func (h *halting) Step(r train.StepReport) {
	h.Watcher.Step(r)
	if h.tape.Err() != nil || h.after > 0 && r.Step >= h.after {
		h.end()
	}
}

// end ends the run. Step calls it before the loop looks for the next step, so that the tape has exactly as many as are asked for.
func (h *halting) end() { h.once.Do(func() { close(h.halt) }) }
