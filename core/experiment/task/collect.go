package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/ledger"
	"tandem/core/fault"
)

// errGoing says that a task makes a trial just now.
var errGoing = errors.New("a task makes it just now")

// isGoing reports whether a task makes a trial just now.
func (l Look) isGoing() bool { return l.Status == Running && !l.Stale }

// settle waits until no task makes a trial, or until a time, which is zero when it was not to wait or has waited long enough.
func (m MergeOptions) settle(ctx context.Context, b *bundle.Bundle, books ledger.Ledger, t bundle.Trial, until *time.Time) error {
	for said := false; !until.IsZero(); said = true {
		l, err := look(b, books, t, 0)
		if err != nil || !l.isGoing() {
			return err
		}
		if time.Now().After(*until) {
			*until = time.Time{}
			return nil
		}
		if !said && m.Waiting != nil {
			m.Waiting(fmt.Sprintf("a task makes trial %s, or was killed: waiting at most %v", t.ID, time.Until(*until).Round(time.Second)))
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Canceled, "interrupted while it waited for trial %s", t.ID)
		case <-time.After(min(time.Second, books.Expiry/4+50*time.Millisecond)):
		}
	}
	return nil
}

// collect takes the result of a trial, as it is now, into the database at whole. It returns false when there is none, and errGoing when
// a task makes the trial just now.
func collect(ctx context.Context, b *bundle.Bundle, books ledger.Ledger, t bundle.Trial, one, whole string) (made bool, err error) {
	l, err := look(b, books, t, 0)
	if err != nil {
		return false, err
	}
	return l.collect(ctx, books, one, whole)
}

// collect takes the result of a trial that was looked at. Whoever took the trial meanwhile has replaced the snapshot by a newer one.
func (l Look) collect(ctx context.Context, books ledger.Ledger, one, whole string) (made bool, err error) {
	if l.isGoing() {
		return false, errGoing
	}
	from := l.result(books)
	if from != "" {
		err = gather(ctx, from, one, whole)
		if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESTALE) {
			return err == nil, err
		}
		return false, errGoing
	}
	now, err := books.Read(l.ID)
	if err == nil && len(now.Attempts) != len(l.State.Attempts) {
		err = errGoing
	}
	return false, err
}
