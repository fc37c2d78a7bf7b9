package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Calls by name to the shared folder's server, as strace counted them for trials of three plugins and a data set that write checkpoints
// there (strace -f -e trace=%file runner task BUNDLE).
const (
	opsOfStart      = 10.0 // of a task: the runner, the bundle
	opsOfAttempt    = 85.0 // a trial is taken, its folders are made, plugins start from the bundle
	opsOfRead       = 2.0  // the state of a trial, and twice more for each attempt at it
	opsOfAge        = 3.0  // the age of a lease
	opsOfBeat       = 5.0  // a sign of life, and how far the run is
	opsOfCheckpoint = 49.0
	opsOfEnd        = 55.0 // the last checkpoint, and the end in the ledger
	beatsOfExpiry   = 10.0 // signs of life in the length of a lease
)

// result is what a simulation counted. Times are seconds, those of slots added up.
type result struct {
	Seconds                                   float64 // until the last trial ended
	Ended, Done, Failed                       int     // trials
	Duplicates                                int     // ends of trials beyond the first
	Refused                                   int     // ends that came after the trial was taken over
	GivenUp                                   int     // trials that failed for nodes or time limits under them
	Starts, Anew, Attempts                    int     // starts of tasks, those whose time was too short for another trial, attempts
	Retries, Takeovers, TimeOuts, Preemptions int     // why attempts followed others
	NodeFailures, Freezes                     int
	Work                                      float64 // that all trials take
	WorkOfDone                                float64 // that trials had done which are done
	WorkOfFailed                              float64 // that trials had done which failed
	Computed                                  float64 // work done, some of it twice
	Lost                                      float64 // of it, what no checkpoint kept
	Overhead                                  float64 // starting, and writing checkpoints
	Idle, Frozen                              float64
	Held                                      float64 // slots were held
	WaitMean, WaitMost                        float64 // of a task for a slot; 99 of 100 wait no longer than WaitMost
	OpsMean, OpsMost                          float64 // calls a second: on average, and in the busiest minute
	MergeSec                                  float64

	waits   []float64
	minutes []float64 // calls
}

// files counts calls at a time.
func (r *result) files(at, calls float64) {
	m := int(at / 60)
	for len(r.minutes) <= m {
		r.minutes = append(r.minutes, 0)
	}
	r.minutes[m] += calls
}

// beats counts the signs of life between two times.
func (r *result) beats(from, to, expiry float64) {
	for ; from < to; from += 60 {
		r.files(from, min(60, to-from)*beatsOfExpiry/expiry*opsOfBeat)
	}
}

func (r *result) finish(s settings) {
	slices.Sort(r.waits)
	for _, w := range r.waits {
		r.WaitMean += w / float64(len(r.waits))
	}
	if n := len(r.waits); n > 0 {
		r.WaitMost = r.waits[(n-1)*99/100]
	}
	for _, calls := range r.minutes {
		r.OpsMean += calls / r.Seconds
		r.OpsMost = max(r.OpsMost, calls/60)
	}
	r.MergeSec = float64(r.Ended) / s.MergeRate
}

func (r result) print(out io.Writer, s settings, took time.Duration) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, values ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, values...))
	}
	share := func(x float64) float64 { return 100 * x / r.Held }
	line("trials", "%d: %d done, %d failed, %d without an end", s.Trials, r.Done, r.Failed, s.Trials-r.Ended)
	line("duplicates", "%d; %d late ends were refused", r.Duplicates, r.Refused)
	line("time", "%s; %s if nothing else took time", hours(r.Seconds), hours(r.Work/float64(s.Nodes*s.Slots)))
	line("utilisation", "%.1f %% of all nodes, %.1f %% of the slots held computed what counts", 100*(r.Computed-r.Lost)/(r.Seconds*float64(s.Nodes*s.Slots)), share(r.Computed-r.Lost))
	line("lost work", "%s, %.2f %% of the slots held", hours(r.Lost), share(r.Lost))
	line("overhead", "%.2f %% starts and checkpoints, %.2f %% frozen, %.2f %% waiting", share(r.Overhead), share(r.Frozen), share(r.Idle))
	line("waiting", "%d starts of tasks, %s on average, 99 %% under %s", r.Starts, minutes(r.WaitMean), minutes(r.WaitMost))
	line("attempts", "%d: %d after time-outs, %d after preemptions, %d after errors, %d after leases expired", r.Attempts, r.TimeOuts, r.Preemptions, r.Retries, r.Takeovers)
	line("nodes", "%d failures, %d freezes", r.NodeFailures, r.Freezes)
	line("shared folder", "%.0f calls/s on average, %.0f in the busiest minute", r.OpsMean, r.OpsMost)
	line("merge", "%s at %.0f trials/s", minutes(r.MergeSec), s.MergeRate)
	line("simulated", "in %.1f s", took.Seconds())
	return w.Flush()
}

func hours(seconds float64) string   { return fmt.Sprintf("%.1f h", seconds/3600) }
func minutes(seconds float64) string { return fmt.Sprintf("%.1f min", seconds/60) }
