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
	Round  int       `json:"round"`            // from 1; failures of trials are counted by it
	Engine string    `json:"engine,omitempty"` // "": slurm
	Array  string    `json:"array_job"`        // of Slurm; "": sbatch did not come so far
	Merge  string    `json:"merge_job"`        // "": none
	Tasks  int       `json:"tasks"`
	At     time.Time `json:"at"`
}

const submissionsDir = "jobs"

func (b *Bundle) submissionPath(round int) string {
	return filepath.Join(b.Dir, submissionsDir, fmt.Sprintf("%04d.json", round))
}

// Submissions returns what was submitted of a bundle, oldest first.
func (b *Bundle) Submissions() (all []Submission, err error) {
	entries, err := os.ReadDir(filepath.Join(b.Dir, submissionsDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.Unavailable, "the bundle's jobs: %w", err)
	}
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), ".json")
		round, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
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
