package conformance

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tandem/core/fault"
)

// Finding reports the outcome of one rule: it holds, it is broken (Err), or it was not checked (Skipped).
type Finding struct {
	Rule    string
	Promise string // what the rule says, one sentence
	Remedy  string // what usually is wrong when it is broken
	Skipped string // why the rule was not checked; "" when it was
	Err     error
	Took    time.Duration
}

// rule states a promise. check makes its own instances and works on them.
type rule[C any] struct {
	name    string
	promise string
	remedy  string
	// needs names rules without which this one cannot be checked: when one of them is broken, this one would only
	// say the same again.
	needs []string
	check func(C) error
}

// ErrWroteInput is wrapped by errors of instances that see their plugin write to what it was given to read. The
// finding belongs to the rule "inputs unmodified", wherever it shows.
var ErrWroteInput = errors.New("")

const inputsRule = "inputs unmodified"

// notChecked is the outcome of a check that found nothing to check.
type notChecked string

func (n notChecked) Error() string { return string(n) }

// run checks the rules in order, but not those that skip names. A panic breaks the rule in which it happens. It
// calls observe, when that is not nil, after every rule.
func run[C any](c C, rules []rule[C], skip []string, observe func(Finding)) []Finding {
	var out []Finding
	reported, unusable := map[string]bool{}, map[string]bool{}
	add := func(f Finding) {
		reported[f.Rule] = true
		unusable[f.Rule] = unusable[f.Rule] || f.Err != nil
		out = append(out, f)
		if observe != nil {
			observe(f)
		}
	}
	for _, name := range skip {
		if !slices.ContainsFunc(rules, func(r rule[C]) bool { return r.name == name }) {
			add(Finding{Rule: name, Promise: "Rules that are left out exist.", Err: fmt.Errorf("there is no rule %q to leave out", name)})
		}
	}
	for _, r := range rules {
		if reported[r.name] {
			continue
		}
		f := Finding{Rule: r.name, Promise: r.promise, Remedy: r.remedy}
		for _, need := range r.needs {
			if unusable[need] && f.Skipped == "" {
				f.Skipped, unusable[r.name] = fmt.Sprintf("it needs %q", need), true
			}
		}
		if slices.Contains(skip, r.name) {
			f.Skipped = "left out as asked"
		}
		if f.Skipped == "" {
			start := time.Now()
			f.Err = catchPanic(func() error { return r.check(c) })
			f.Took = time.Since(start)
		}
		var nothing notChecked
		switch {
		case errors.As(f.Err, &nothing):
			f.Skipped, f.Err = string(nothing), nil
		case r.name != inputsRule && errors.Is(f.Err, ErrWroteInput):
			if i := slices.IndexFunc(rules, func(r rule[C]) bool { return r.name == inputsRule }); i >= 0 && !reported[inputsRule] {
				add(Finding{Rule: inputsRule, Promise: rules[i].promise, Remedy: rules[i].remedy, Err: f.Err, Took: f.Took})
			}
			f.Skipped, f.Err, unusable[r.name] = fmt.Sprintf("it needs %q", inputsRule), nil, true
		}
		add(f)
	}
	return out
}

func catchPanic(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

func report(t *testing.T, findings []Finding) {
	t.Helper()
	for _, f := range findings {
		t.Run(f.Rule, func(t *testing.T) {
			switch {
			case f.Err != nil:
				t.Error(fault.Format(f.Err))
			case f.Skipped != "":
				t.Skip(f.Skipped)
			}
		})
	}
}

// always returns a start function for instances of this process, which never fail to start.
func always[T any](newInstance func() T) func() (T, error) {
	return func() (T, error) { return newInstance(), nil }
}
