package bundle

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

// Submission records that an engine was to run the tasks of a bundle.
type Submission struct {
	Round  int       `json:"round"`            // from 1, over all bundles beside this one; failures of trials are counted by it
	Engine string    `json:"engine,omitempty"` // "": slurm
	Array  string    `json:"array_job"`        // of Slurm; "": sbatch did not come so far
	Merge  string    `json:"merge_job"`        // "": none
	Tasks  int       `json:"tasks"`
	Lease  float64   `json:"lease_s,omitempty"` // of the tasks, seconds; 0: the ledger's
	At     time.Time `json:"at"`
}

const submissionsDir = "jobs"

func (b *Bundle) submissionPath(round int) string {
	return filepath.Join(b.Dir, submissionsDir, fmt.Sprintf("%04d.json", round))
}

// rounds returns the numbers of what was submitted of the bundle in a folder.
func rounds(dir string) (all []int, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, submissionsDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.Unavailable, "the bundle's jobs: %w", err)
	}
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), ".json")
		if round, err := strconv.Atoi(number); ok && err == nil {
			all = append(all, round)
		}
	}
	return all, nil
}

// NextRound returns the number of the next submission: one that no bundle beside this one has had, since they share trials.
func (b *Bundle) NextRound() (int, error) {
	entries, err := os.ReadDir(b.Root())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fault.New(fault.Unavailable, "the folder of bundles: %w", err)
	}
	last := 0
	for _, e := range entries {
		dir := filepath.Join(b.Root(), e.Name())
		if !IsBundle(dir) {
			continue
		}
		had, err := rounds(dir)
		if err != nil {
			return 0, err
		}
		last = max(last, slices.Max(append(had, 0)))
	}
	return last + 1, nil
}

// Lease returns the lease that the bundle was submitted with last; 0: none of its own.
func (b *Bundle) Lease() (time.Duration, error) {
	all, err := b.Submissions()
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return time.Duration(all[len(all)-1].Lease * float64(time.Second)), nil
}

// Submissions returns what was submitted of a bundle, oldest first.
func (b *Bundle) Submissions() (all []Submission, err error) {
	had, err := rounds(b.Dir)
	if err != nil {
		return nil, err
	}
	for _, round := range had {
		s := Submission{Round: round}
		text, err := os.ReadFile(b.submissionPath(round))
		if err == nil && len(text) > 0 {
			err = json.Unmarshal(text, &s)
		}
		if err != nil {
			return nil, fault.New(fault.Corrupt, "the bundle's jobs: %w", err).WithFile(b.submissionPath(round), 0, 0)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Submission) int { return a.Round - b.Round })
	return all, nil
}

// Submit records a submission that start makes: start may fill in what it is known by. Where it leaves no Array and an error,
// nothing was submitted and nothing is recorded. A second submission of the same round yields fault.Conflict, without a call of start.
func (b *Bundle) Submit(s Submission, start func(*Submission) error) (Submission, error) {
	path := b.submissionPath(s.Round)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return s, fault.New(fault.Unavailable, "%w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		return s, fault.New(fault.Conflict, "somebody else submits %s just now", b.Name()).WithFile(path, 0, 0).
			WithHint("runner status %s tells what came of it", b.Name())
	}
	if err != nil {
		return s, fault.New(fault.Unavailable, "%w", err)
	}
	defer f.Close()
	s.At = time.Now()
	started := start(&s)
	if started != nil && s.Array == "" {
		os.Remove(path)
		return s, started
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		_, err = f.Write(append(text, '\n'))
	}
	return s, errors.Join(started, err, f.Sync())
}
