package slurm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tandem/core/experiment/bundle"
	"tandem/core/fault"
)

// Submission records what was handed to Slurm of a bundle.
type Submission struct {
	Round int       `json:"round"`
	Array string    `json:"array_job"` // "": sbatch did not come so far
	Merge string    `json:"merge_job"` // "": none
	Tasks int       `json:"tasks"`
	At    time.Time `json:"at"`
}

const submissionsDir = "jobs"

func submissionPath(b *bundle.Bundle, round int) string {
	return filepath.Join(b.Dir, submissionsDir, fmt.Sprintf("%04d.json", round))
}

// Submissions returns what was submitted of a bundle, oldest first.
func Submissions(b *bundle.Bundle) (all []Submission, err error) {
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
		text, err := os.ReadFile(submissionPath(b, round))
		if err == nil && len(text) > 0 {
			err = json.Unmarshal(text, &s)
		}
		if err != nil {
			return nil, fault.New(fault.Corrupt, "the bundle's jobs: %w", err).WithFile(submissionPath(b, round), 0, 0)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Submission) int { return a.Round - b.Round })
	return all, nil
}

// Start submits the array of a bundle and the job that merges what it makes. A second one at the same time yields fault.Conflict. When the
// array is submitted and the merge cannot be, the submission comes with the error.
func Start(ctx context.Context, b *bundle.Bundle, o Options) (s Submission, err error) {
	if err := o.Check(); err != nil {
		return s, err
	}
	for _, dir := range []string{filepath.Join(b.Dir, submissionsDir), LogsDir(b)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return s, fault.New(fault.Unavailable, "%w", err)
		}
	}
	path := submissionPath(b, o.Round)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		return s, fault.New(fault.Conflict, "somebody else submits %s just now", b.Name()).WithFile(path, 0, 0).
			WithHint("runner status %s tells what came of it", b.Name())
	}
	if err != nil {
		return s, fault.New(fault.Unavailable, "%w", err)
	}
	defer f.Close()
	s = Submission{Round: o.Round, Tasks: o.Tasks, At: time.Now()}
	if s.Array, err = Submit(ctx, Script(b, o)); err != nil {
		os.Remove(path)
		return s, err
	}
	var merge error
	if o.DB != "" {
		s.Merge, merge = Submit(ctx, MergeScript(b, o, s.Array))
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		_, err = f.Write(append(text, '\n'))
	}
	return s, errors.Join(merge, err, f.Sync())
}
