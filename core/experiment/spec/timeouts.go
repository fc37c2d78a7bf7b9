package spec

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Timeouts bounds how long calls of plugins may take, by kind; 0 means no limit.
type Timeouts struct {
	Start     Timeout `json:"start"`
	Configure Timeout `json:"configure"`
	Batch     Timeout `json:"batch"`
	Compute   Timeout `json:"compute"`
	File      Timeout `json:"file"`
	Ask       Timeout `json:"ask"`
}

// DefaultTimeouts returns limits far above what calls take, which only calls that would never end can reach.
func DefaultTimeouts() Timeouts {
	const min = Timeout(time.Minute)
	return Timeouts{Start: min, Configure: 30 * min, Batch: 10 * min, Compute: 30 * min, File: 30 * min, Ask: min}
}

// Limits returns the spec's timeouts.
func (s *Spec) Limits() Timeouts {
	if s.Timeouts == nil {
		return DefaultTimeouts()
	}
	return *s.Timeouts
}

// UnmarshalJSON fills in the timeouts that are left out.
func (t *Timeouts) UnmarshalJSON(data []byte) error {
	type plain Timeouts
	p := plain(DefaultTimeouts())
	err := json.Unmarshal(data, &p)
	*t = Timeouts(p)
	return err
}

// Timeout holds a time in whole seconds.
type Timeout time.Duration

var timeUnits = map[string]float64{"": 1, "s": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}

// ParseTimeout reads "90", "90 s", "10 min" or "1.5 h".
func ParseTimeout(text string) (Timeout, error) {
	bad := fmt.Errorf("%q is not a time", text)
	at := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if at < 0 {
		at = len(text)
	}
	n, err := strconv.ParseFloat(text[:at], 64)
	unit := strings.TrimSpace(text[at:])
	factor, known := timeUnits[unit]
	if !known {
		factor, known = timeUnits[strings.TrimSuffix(unit, "s")]
	}
	if err != nil || !known || n*factor > 1e9 || n*factor != math.Trunc(n*factor) {
		return 0, bad
	}
	return Timeout(time.Duration(n*factor) * time.Second), nil
}

// UnmarshalJSON reads a number of seconds.
func (t *Timeout) UnmarshalJSON(data []byte) error {
	var seconds int64
	err := json.Unmarshal(data, &seconds)
	*t = Timeout(time.Duration(seconds) * time.Second)
	return err
}
