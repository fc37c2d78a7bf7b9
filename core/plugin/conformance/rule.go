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

// Breach marks an error of an instance that breaks a rule whose name is known, wherever it shows.
type Breach struct {
	Rule string
	Err  error
}

// Error returns the text of the error.
func (b *Breach) Error() string { return b.Err.Error() }

// Unwrap returns the error.
func (b *Breach) Unwrap() error { return b.Err }

const inputsRule = "inputs unmodified"

// notChecked is the outcome of a check that found nothing to check.
type notChecked string

func (n notChecked) Error() string { return string(n) }

// selection says which rules are checked.
type selection struct {
	skip []string // not these
	only []string // these and what they need; nil: all
}

// wants reports whether a rule is to be reported.
func wants[C any](s selection, rules []rule[C], name string) bool {
	if len(s.only) == 0 || slices.Contains(s.only, name) {
		return true
	}
	for _, r := range rules {
		if slices.Contains(r.needs, name) && wants(s, rules, r.name) {
			return true
		}
	}
	return false
}

// run checks the rules in order. A panic breaks the rule in which it happens. It calls observe, when that is not nil,
// after every rule.
func run[C any](c C, rules []rule[C], s selection, observe func(Finding)) []Finding {
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
	find := func(name string) int { return slices.IndexFunc(rules, func(r rule[C]) bool { return r.name == name }) }
	for _, name := range slices.Concat(s.skip, s.only) {
		if find(name) < 0 {
			add(Finding{Rule: name, Promise: "Rules that are named exist.", Remedy: "name one of the report's rules", Err: fmt.Errorf("there is no rule %q", name)})
		}
	}
	for _, r := range rules {
		if reported[r.name] || !wants(s, rules, r.name) {
			continue
		}
		f := Finding{Rule: r.name, Promise: r.promise, Remedy: r.remedy}
		for _, need := range r.needs {
			if unusable[need] && f.Skipped == "" {
				f.Skipped, unusable[r.name] = fmt.Sprintf("it needs %q", need), true
			}
		}
		if slices.Contains(s.skip, r.name) {
			f.Skipped = "left out as asked"
		}
		if f.Skipped == "" {
			start := time.Now()
			f.Err = catchPanic(func() error { return r.check(c) })
			f.Took = time.Since(start)
		}
		var nothing notChecked
		var breach *Breach
		if errors.As(f.Err, &nothing) {
			f.Skipped, f.Err = string(nothing), nil
		} else if errors.As(f.Err, &breach) && breach.Rule != r.name && find(breach.Rule) >= 0 {
			if other := rules[find(breach.Rule)]; !reported[other.name] {
				add(Finding{Rule: other.name, Promise: other.promise, Remedy: other.remedy, Err: f.Err, Took: f.Took})
			}
			f.Skipped, f.Err, unusable[r.name] = fmt.Sprintf("it needs %q", breach.Rule), nil, true
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
