package wire

import "time"

// anchor pairs one moment on Go's clock with the machine's. Go's monotonic readings count from the start of a
// process, so that those of two processes do not compare.
var anchor = func() struct {
	at    time.Time
	nanos int64
} {
	before := time.Now()
	nanos := monotonic()
	return struct {
		at    time.Time
		nanos int64
	}{before.Add(time.Since(before) / 2), nanos}
}()

// toClock returns a moment in nanoseconds of CLOCK_MONOTONIC; 0 on systems that do not have it.
func toClock(t time.Time) int64 {
	if anchor.nanos == 0 || t.IsZero() {
		return 0
	}
	return anchor.nanos + t.Sub(anchor.at).Nanoseconds()
}

// fromClock returns the moment that toClock converted in any process of this machine; the zero time for 0.
func fromClock(nanos int64) time.Time {
	if anchor.nanos == 0 || nanos == 0 {
		return time.Time{}
	}
	return anchor.at.Add(time.Duration(nanos - anchor.nanos))
}
