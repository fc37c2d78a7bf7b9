// Package ledger says in files of a shared folder who makes which trial, and how each attempt at it ended.
//
// A trial has a folder, and each attempt at it two files there: 0003.lease, made by who takes the trial, and 0003.end,
// made when the attempt is over. Both appear whole and once: they are written under another name and linked, which
// NFS, Lustre and GPFS do for one of several hosts only. An attempt begins only when the one before has its end, so
// that of all who want a trial one gets it, and the ends are a history of which no entry is ever changed.
//
// The owner touches its lease now and then. Where it has not for Expiry, others take the owner for dead, write the end
// "lost" in its place and begin the next attempt. An owner that was only suspended finds that end, and what it made since does
// not count: End fails with ErrLost. Ages are measured by the clock of the file server alone.
package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tandem/core/fault"
)

// Ledger is the folder of a study's trials.
type Ledger struct {
	Dir string
	// Expiry is how old the last sign of an owner's life may be; 0: DefaultExpiry. All who share a ledger need the same.
	Expiry time.Duration
}

// DefaultExpiry is more than three times what NFS clients keep attributes of files by default (acregmax, 60 s).
const DefaultExpiry = 200 * time.Second

// Owner tells who makes an attempt.
type Owner struct {
	Task string `json:"task,omitempty"` // of the engine that started it, the same after a restart: slurm:1234_5; "": by hand
	Host string `json:"host"`
	PID  int    `json:"pid"`
	// Restart counts how often the engine started the task again before.
	Restart int       `json:"restart,omitempty"`
	Round   int       `json:"round,omitempty"` // the submission that the task belongs to
	At      time.Time `json:"at"`
}

// Status says how an attempt ended.
type Status string

// How attempts end.
const (
	Done        Status = "done"
	Stopped     Status = "stopped"     // by a rule
	Failed      Status = "failed"      //
	Interrupted Status = "interrupted" // given back, to be gone on with
	Lost        Status = "lost"        // its owner gave no sign of life any more
)

// Why an attempt was interrupted.
const (
	TimeOut   = "time-out"   // of the allotted time
	Preempted = "preempted"  // the engine wants the node, or a person ended the job
	Shutdown  = "terminated" // a signal outside of an engine
)

// Outcome tells how an attempt ended.
type Outcome struct {
	Status  Status     `json:"status"`
	Why     string     `json:"why,omitempty"`  // of Interrupted
	Kind    fault.Kind `json:"kind,omitempty"` // of Failed
	Final   bool       `json:"final,omitempty"`
	Message string     `json:"message,omitempty"`
	Hint    string     `json:"hint,omitempty"`
	Run     string     `json:"run_id,omitempty"`
	Step    int        `json:"step,omitempty"` // of the newest checkpoint, or of the end
	Steps   int        `json:"steps,omitempty"`
	Value   *float64   `json:"value,omitempty"` // of the metric that decides
	Seconds float64    `json:"seconds"`         // since the attempt began
	By      string     `json:"by,omitempty"`    // who wrote it, when not the owner
	At      time.Time  `json:"at"`
}

// Attempt is one go at a trial.
type Attempt struct {
	N     int      `json:"attempt"` // from 1
	Owner Owner    `json:"owner"`
	End   *Outcome `json:"end"` // nil: not over
}

// State is all that the ledger has of a trial.
type State struct {
	Trial    string
	Attempts []Attempt
}

// Last returns the newest attempt; nil when there is none.
func (s State) Last() *Attempt {
	if len(s.Attempts) == 0 {
		return nil
	}
	return &s.Attempts[len(s.Attempts)-1]
}

// Over returns the outcome of the attempt that came to the trial's end; nil when none did.
func (s State) Over() *Outcome {
	for _, a := range s.Attempts {
		if a.End != nil && (a.End.Status == Done || a.End.Status == Stopped) {
			return a.End
		}
	}
	return nil
}

func (l Ledger) expiry() time.Duration {
	if l.Expiry > 0 {
		return l.Expiry
	}
	return DefaultExpiry
}

// TrialDir returns the folder of a trial.
func (l Ledger) TrialDir(trial string) string { return filepath.Join(l.Dir, trial) }

// Endings of the files of an attempt.
const (
	leaseEnding    = ".lease"
	endEnding      = ".end"
	progressEnding = ".progress"
)

// fileName returns the name of an attempt's file.
func fileName(n int, ending string) string { return fmt.Sprintf("%04d%s", n, ending) }

// FilePath returns the path of a file of an attempt at a trial.
func (l Ledger) FilePath(trial string, n int, ending string) string {
	return filepath.Join(l.TrialDir(trial), fileName(n, ending))
}

// Read returns what the ledger has of a trial: nothing of one that nobody began.
func (l Ledger) Read(trial string) (State, error) {
	s := State{Trial: trial}
	entries, err := os.ReadDir(l.TrialDir(trial))
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, l.fault(err)
	}
	ends := map[int]bool{}
	for _, e := range entries {
		number, ending, found := strings.Cut(e.Name(), ".")
		n, err := strconv.Atoi(number)
		if !found || err != nil || n < 1 {
			continue
		}
		switch "." + ending {
		case leaseEnding:
			a := Attempt{N: n}
			if err := l.read(trial, e.Name(), &a.Owner); err != nil {
				return s, err
			}
			s.Attempts = append(s.Attempts, a)
		case endEnding:
			ends[n] = true
		}
	}
	slices.SortFunc(s.Attempts, func(a, b Attempt) int { return a.N - b.N })
	for i := range s.Attempts {
		if a := &s.Attempts[i]; ends[a.N] {
			a.End = &Outcome{}
			if err := l.read(trial, fileName(a.N, endEnding), a.End); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

func (l Ledger) read(trial, name string, into any) error {
	path := filepath.Join(l.TrialDir(trial), name)
	text, err := os.ReadFile(path)
	if err != nil {
		return l.fault(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fault.New(fault.Corrupt, "the ledger of the study's trials: %w", err).WithFile(path, 0, 0).
			WithHint("no tandem writes this; without the trial's folder, %s, the trial starts over", l.TrialDir(trial))
	}
	return nil
}

// Age returns how long ago the owner of an attempt that is not over gave a sign of life, by the clock of the file server.
func (l Ledger) Age(trial string, n int) (time.Duration, error) {
	beat, err := modified(filepath.Join(l.TrialDir(trial), fileName(n, leaseEnding)))
	if err != nil {
		return 0, l.fault(err)
	}
	now, err := l.now(trial)
	if err != nil {
		return 0, err
	}
	return max(0, now.Sub(beat)), nil
}

// IsStale reports whether the owner of an attempt that is not over is taken for dead.
func (l Ledger) IsStale(trial string, n int) (bool, error) {
	age, err := l.Age(trial, n)
	return age > l.expiry(), err
}

// modified returns when a file was written to or touched. Opening it makes an NFS client ask the server.
func modified(path string) (time.Time, error) {
	f, err := os.Open(path)
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// now returns the time of the file server: that of a file which has just been made.
func (l Ledger) now(trial string) (time.Time, error) {
	f, err := os.CreateTemp(l.TrialDir(trial), ".now-")
	if err != nil {
		return time.Time{}, l.fault(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return time.Time{}, l.fault(err)
	}
	return info.ModTime(), nil
}

// fault tells of a folder that does not do what the ledger needs.
func (l Ledger) fault(err error) error {
	var told *fault.Error
	if errors.As(err, &told) {
		return err
	}
	return fault.New(fault.Unavailable, "the ledger of the study's trials: %w", err).WithFile(l.Dir, 0, 0).
		WithHint("it has to be a folder that every node sees under the same path and may write to")
}
