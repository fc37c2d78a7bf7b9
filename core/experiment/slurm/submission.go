package slurm

import (
	"context"
	"os"

	"tandem/core/experiment/bundle"
	"tandem/core/fault"
)

// Start submits the array of a bundle and the job that merges what it makes. A second one at the same time yields fault.Conflict. When the
// array is submitted and the merge cannot be, the submission comes with the error.
func Start(ctx context.Context, b *bundle.Bundle, o Options) (s bundle.Submission, err error) {
	if err := o.Check(); err != nil {
		return s, err
	}
	if err := os.MkdirAll(LogsDir(b), 0o755); err != nil {
		return s, fault.New(fault.Unavailable, "%w", err)
	}
	return b.Submit(bundle.Submission{Round: o.Round, Tasks: o.Tasks, Lease: o.Lease.Seconds()}, func(s *bundle.Submission) (err error) {
		if s.Array, err = Submit(ctx, Script(b, o)); err == nil && o.DB != "" {
			s.Merge, err = Submit(ctx, MergeScript(b, o, s.Array))
		}
		return err
	})
}
