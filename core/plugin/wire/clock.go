package wire

import "time"

// anchor is one moment on Go's clock and on the machine's: Go's monotonic readings count from the
// start of a process, so on their own they do not compare between processes.
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

// toClock is a moment as CLOCK_MONOTONIC nanoseconds; 0 on systems where that is not to be had.
func toClock(t time.Time) int64 {
	if anchor.nanos == 0 || t.IsZero() {
		return 0
	}
	return anchor.nanos + t.Sub(anchor.at).Nanoseconds()
}

// fromClock is the moment that toClock made in any process of this machine; zero for 0.
func fromClock(nanos int64) time.Time {
	if anchor.nanos == 0 || nanos == 0 {
		return time.Time{}
	}
	return anchor.at.Add(time.Duration(nanos - anchor.nanos))
}
