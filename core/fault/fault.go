// Package fault defines the one error type of tandem: a kind, an operation, where it happened and what to
// do about it. It survives a trip over RPC (core/plugin/wire carries it in gRPC status details), so that
// errors.As works across processes.
//
// It knows nothing of plugins, YAML or SQL and imports only the standard library.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what sort of failure an error is; callers decide by it and the database stores it.
type Kind string

// The kinds. Invalid is the user's to mend; Canceled is the user's own doing; the rest are failures.
const (
	Invalid     Kind = "invalid"     // bad input: a spec field, a shape, an argument
	NotFound    Kind = "not_found"   // a file, plugin, run or name that is not there
	Conflict    Kind = "conflict"    // the state does not allow it (a run in progress, a used ticket)
	Unavailable Kind = "unavailable" // a device, library or feature missing on this machine
	Exhausted   Kind = "exhausted"   // memory, disk or a limit ran out
	Corrupt     Kind = "corrupt"     // data that contradicts itself: a broken image, a bad checkpoint
	Numeric     Kind = "numeric"     // a NaN or infinity where a number was due
	PluginDied  Kind = "plugin_died" // a plugin process ended without being asked to
	Canceled    Kind = "canceled"    // interrupted by the user or a deadline
	Internal    Kind = "internal"    // a bug in tandem or in a plugin (recovered panic)
)

// Error describes a failure with all that a reader needs to act on it. The text leaves out fields that are
// zero.
type Error struct {
	Kind   Kind
	Op     string // what was being done: "train: step 120", "load"
	Plugin string // "losses/clip"
	File   string // the file at fault
	Line   int    // 1-based; 0 when unknown
	Column int    // 1-based; 0 when unknown
	Path   string // field path: "loss.with.temperature"
	Msg    string // lower case, values included
	Hint   string // the remedy, one sentence
	Detail string // long material: a stderr tail, a stack
	// Reason names the failure in a few words that are the same for all of its kind, so that records refused for it can
	// be counted together: "truncated picture". It is not part of the text. "" for failures that nobody counts.
	Reason string
	Err    error // the cause; its text is part of Error() unless Msg already says it
}

// New makes an error of a kind with a formatted message; %w in format keeps the cause reachable.
func New(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint, WithOp, WithPlugin, WithPath, WithFile and WithDetail set one field and return e itself,
// for use in the expression that makes the error.

// WithHint sets the remedy.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithOp sets what was being done.
func (e *Error) WithOp(op string) *Error { e.Op = op; return e }

// WithPlugin sets the plugin at fault, as "kind/name".
func (e *Error) WithPlugin(name string) *Error { e.Plugin = name; return e }

// WithPath sets the field path at fault.
func (e *Error) WithPath(path string) *Error { e.Path = path; return e }

// WithFile sets the place at fault; line and column are 1-based, 0 when unknown.
func (e *Error) WithFile(file string, line, column int) *Error {
	e.File, e.Line, e.Column = file, line, column
	return e
}

// WithDetail sets long material such as a stderr tail.
func (e *Error) WithDetail(detail string) *Error { e.Detail = detail; return e }

// WithReason sets the words under which failures of this kind are counted.
func (e *Error) WithReason(reason string) *Error { e.Reason = reason; return e }

// ReasonOf returns the reason of the first Error in err's chain that has one, otherwise the kind of err.
func ReasonOf(err error) string {
	for at := err; at != nil; at = errors.Unwrap(at) {
		if e, ok := at.(*Error); ok && e.Reason != "" {
			return e.Reason
		}
	}
	return string(KindOf(err))
}

// Error returns the text on one line, without hint and detail: "file:line:col: op: plugin: path: msg".
func (e *Error) Error() string {
	var parts []string
	if e.File != "" {
		at := e.File
		if e.Line > 0 {
			at += fmt.Sprintf(":%d", e.Line)
			if e.Column > 0 {
				at += fmt.Sprintf(":%d", e.Column)
			}
		}
		parts = append(parts, at)
	}
	for _, p := range []string{e.Op, e.Plugin, e.Path, e.Msg} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if e.Msg == "" && e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Format returns the text for a person: Error(), then the hint and the detail, each indented on lines of its
// own. It escapes whatever a terminal would obey (Printable).
func Format(err error) string {
	var list List
	if errors.As(err, &list) {
		texts := make([]string, len(list))
		for i, e := range list {
			texts[i] = Format(e)
		}
		return strings.Join(texts, "\n")
	}
	text := Printable(err.Error())
	var e *Error
	if !errors.As(err, &e) {
		return text
	}
	if e.Hint != "" {
		text += "\n  hint: " + Printable(e.Hint)
	}
	if detail := strings.TrimRight(Printable(e.Detail), "\n"); detail != "" {
		text += "\n    " + strings.ReplaceAll(detail, "\n", "\n    ")
	}
	return text
}

// KindOf returns the kind of the first Error in err's chain: Internal for any other error, "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var list List
	if errors.As(err, &list) && len(list) > 0 {
		return list[0].Kind
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// List holds several errors found at once, such as all faults of a spec, in file order.
type List []*Error

// Error returns the texts of all errors, one a line.
func (l List) Error() string {
	texts := make([]string, len(l))
	for i, e := range l {
		texts[i] = e.Error()
	}
	return strings.Join(texts, "\n")
}

// Err returns l as an error, or nil when l is empty.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}
