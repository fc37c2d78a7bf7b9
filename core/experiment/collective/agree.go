package collective

import (
	"context"
	"errors"
	"os"

	"tandem/core/fault"
)

// Agree returns nil when no rank has an error. Otherwise every rank gets an error: a rank its own where it is the first that has
// one, else that of the first, with its rank and host. Cancellations count only where nothing else went wrong.
func Agree(ctx context.Context, g Group, mine error) error {
	if g.Size() == 1 {
		return mine
	}
	all, err := GatherValues(ctx, g, ReportOf(mine))
	if err != nil {
		return errors.Join(mine, err)
	}
	return Settle(g, mine, all)
}

// Settle returns what Agree does, given this rank's error and the reports of all ranks.
func Settle(g Group, mine error, all []Report) error {
	first := -1
	for r, e := range all {
		if e.Kind != "" && (first < 0 || all[first].Kind == fault.Canceled && e.Kind != fault.Canceled) {
			first = r
		}
	}
	switch {
	case first < 0:
		return nil
	case first == g.Rank():
		return mine
	}
	return all[first].at(first)
}

// Report is an error on its way to other ranks; the zero value is none.
type Report struct {
	Kind                     fault.Kind `json:",omitempty"` // "": none
	Text, Hint, Detail, Host string     `json:",omitempty"`
}

// ReportOf returns the report of an error, which may be nil.
func ReportOf(err error) Report {
	if err == nil {
		return Report{}
	}
	r := Report{Kind: fault.KindOf(err), Text: err.Error(), Host: Host()}
	var f *fault.Error
	if errors.As(err, &f) {
		r.Hint, r.Detail = f.Hint, f.Detail
	}
	return r
}

func (r Report) at(rank int) error {
	f := fault.New(r.Kind, "rank %d on %s: %s", rank, r.Host, r.Text).WithDetail(r.Detail)
	f.Hint = r.Hint
	return f
}

// Host names this machine, for messages.
func Host() string {
	name, err := os.Hostname()
	if err != nil {
		return "an unnamed host"
	}
	return name
}
