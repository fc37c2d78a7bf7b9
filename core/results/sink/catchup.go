package sink

import (
	"context"
	"maps"
	"slices"
	"time"
)

// The bounds of how many values are read from the record at a time, where steps allow.
const (
	fewValues  = 2 << 10
	manyValues = 16 << 10
)

// catchUp writes what the record has and the tracker has not; false: patience ended before.
func (l *lane) catchUp(ctx context.Context) bool {
	var last map[string]int
	if !l.try(ctx, 0, func() (err error) { last, err = l.r.Record.LastSteps(ctx); return err }) {
		return false
	}
	end, from := -1, -1
	for name, step := range last {
		if newest := l.newestOf(name); step > newest {
			if end < 0 || newest < from {
				from = newest
			}
			end = max(end, step)
		}
	}
	for window := 256; from < end; {
		upTo, values := min(end, from+window), 0
		var points []Points
		if !l.try(ctx, 0, func() (err error) { points, err = l.r.Record.Between(ctx, from, upTo); return err }) {
			return false
		}
		now := time.Now()
		for i := range points {
			points[i].At = now // the record does not have the times
			values += len(points[i].Values)
		}
		for batch := range slices.Chunk(points, max(1, batchLimit/max(1, len(last)))) {
			if !l.put(ctx, batch) {
				return false
			}
		}
		from = upTo
		switch {
		case values < fewValues:
			window *= 2
		case values > manyValues && window > 1:
			window /= 2
		}
	}
	return true
}

// Newest makes what Tracker.Open returns of a map.
func Newest(steps map[string]int) func(metric string) int {
	steps = maps.Clone(steps)
	return func(metric string) int {
		if step, known := steps[metric]; known {
			return step
		}
		return -1
	}
}
