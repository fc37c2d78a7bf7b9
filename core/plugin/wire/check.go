package wire

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"tandem/core/fault"
	"tandem/core/tensor"
)

// What a plugin says is held against the rules of docs/protocol.md where it crosses, so that whoever works with
// it later need not doubt it, and the plugin that broke a rule is the one that is named.

// These limits on what a plugin may say are far above what any plugin needs, and small enough for the numbers
// to be kept, added and multiplied.
const (
	maxCount   = 1 << 44 // parameters, samples
	maxSide    = 1 << 16 // pixels
	maxTokens  = 1 << 24
	maxNames   = 1 << 10 // terms of a loss, targets of a dataset, purposes of memory
	maxName    = 200     // bytes of one of these
	maxClasses = 1 << 24
	maxText    = 64 << 10 // a note, a backend, the message of a fault
	maxCaption = 1 << 20
	maxBucket  = 1 << 30 // gradients
)

// ErrRule is wrapped by the fault of a plugin that broke a rule. To try again would at best hide the bug.
var ErrRule = errors.New("a rule of the protocol was broken")

// brokenRule returns the fault of a plugin that broke a rule of the protocol.
func (c *Conn) brokenRule(method, format string, args ...any) *fault.Error {
	e := fault.New(fault.Internal, method+" broke a rule of the protocol: "+format, args...).WithPlugin(c.name)
	e.Err = ErrRule
	return c.blame(e.
		WithHint("this is a bug in the plugin; docs/protocol.md has the rules"))
}

// notFinite returns the fault of a plugin that gave a NaN or an infinity where a number was due.
func (c *Conn) notFinite(method, format string, args ...any) *fault.Error {
	return c.blame(fault.New(fault.Numeric, method+" gave "+format, args...).WithPlugin(c.name).
		WithHint("lower train.lr, raise train.warmup_steps or set train.max_grad_norm: 1; if that does not help, it is a bug in the plugin"))
}

// checker collects the first rule that an answer broke.
type checker struct {
	conn   *Conn
	method string
	err    error
}

func (c *Conn) checker(method string) *checker { return &checker{conn: c, method: method} }

func (k *checker) brokenRule(format string, args ...any) {
	if k.err == nil {
		k.err = k.conn.brokenRule(k.method, format, args...)
	}
}

// require reports a broken rule unless right is true.
func (k *checker) require(right bool, format string, args ...any) {
	if !right {
		k.brokenRule(format, args...)
	}
}

// count checks a number that counts things.
func (k *checker) count(what string, n, least, most int64) {
	k.require(n >= least && n <= most, "%s is %d, want %d to %d", what, n, least, most)
}

// number checks a finite number that is not negative.
func (k *checker) number(what string, v float64) {
	k.require(v >= 0 && !math.IsInf(v, 0), "%s is %v, want a number from 0", what, v)
}

// finite checks a number that may have any sign.
func (k *checker) finite(what string, v float64) {
	if k.err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		k.err = k.conn.notFinite(k.method, "%s %v", what, v)
	}
}

// text checks a text that people read.
func (k *checker) text(what, s string, most int) {
	k.require(len(s) <= most, "%s has %d bytes, want at most %d", what, len(s), most)
	k.require(utf8.ValidString(s), "%s is not UTF-8", what)
}

// name checks a text that becomes part of the name of a metric or a file, or a heading.
func (k *checker) name(what, s string) {
	k.require(s != "" && len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl),
		"%s is %s, want 1 to %d bytes without control characters", what, quote(s), maxName)
}

// quote shortens and quotes a plugin's text for an error.
func quote(s string) string {
	if len(s) <= 60 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q… (%d bytes)", strings.ToValidUTF8(s[:60], ""), len(s))
}

// values checks that all elements of a float32 tensor [B, D] are finite.
func (k *checker) values(what string, t *tensor.Tensor) {
	if k.err != nil || t == nil || t.DType != tensor.F32 {
		return
	}
	for i, v := range t.F32() {
		if math.Float32bits(v)&0x7f800000 != 0x7f800000 { // neither infinity nor NaN
			continue
		}
		columns := 1
		if n := len(t.Shape); n > 0 {
			columns = max(1, t.Shape[n-1])
		}
		k.err = k.conn.notFinite(k.method, "%v in the %s, row %d, column %d", v, what, i/columns, i%columns)
		return
	}
}
