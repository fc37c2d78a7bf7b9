package spec

import (
	"encoding/json"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"tandem/core/clip"
	"tandem/core/fault"
)

// The rules of early stopping. core/experiment/sweep implements them.
const (
	Median = "median"
	ASHA   = "asha"
)

// Retries says how often a failed trial is tried again. The zero value never tries again.
type Retries struct {
	Of      map[fault.Kind]int
	Backoff time.Duration // before the first; doubled each time
}

// maxBackoff limits the wait before a retry.
const maxBackoff = time.Minute

// For returns how many retries a failure of a kind has.
func (r Retries) For(kind fault.Kind) int { return r.Of[kind] }

// Wait returns how long to wait before retry n, counted from 1: at most a minute.
func (r Retries) Wait(n int) time.Duration {
	wait := r.Backoff
	for ; n > 1 && wait < maxBackoff; n-- {
		wait *= 2
	}
	return min(wait, maxBackoff)
}

// transient lists the kinds of failure that another attempt may not meet; a plain number of retries is for
// these.
var transient = []fault.Kind{fault.PluginDied, fault.Exhausted, fault.Unavailable, fault.Internal}

// maxRetries limits the retries of a trial.
const maxRetries = 10

// retryKeys lists the kinds that retries may name: all but what the user ended.
var retryKeys = func() []Key {
	var keys []Key
	for _, k := range append(transient[:len(transient):len(transient)],
		fault.Corrupt, fault.Conflict, fault.Numeric, fault.NotFound, fault.Invalid) {
		keys = append(keys, key(string(k), clip.TypeInt, nil, "").min(0).max(maxRetries))
	}
	return keys
}()

// Stop says when a trial is given up before its end.
type Stop struct {
	Rule      string   `json:"rule"`       // Median or ASHA
	Metric    string   `json:"metric"`     // "": the one that decides
	Grace     Interval `json:"grace"`      // nothing is stopped before; with ASHA, the first rung
	Eta       int      `json:"eta"`        // of ASHA: one in Eta goes on from each rung
	MinTrials int      `json:"min_trials"` // how many others must have come as far
}

var stopKeys = []Key{
	key("rule", clip.TypeString, nil, "write rule: median, or rule: asha").enum(Median, ASHA).required(),
	key("metric", clip.TypeString, "", "the metric that the rule looks at; `metric` when left out. One of a validation split is better. One of an evaluation needs `train.eval_every`"),
	key("grace", typeInterval, "1 epoch", "no trial is stopped before this: `200` steps or `1 epoch`, which is the default. For `asha` it is the first rung"),
	key("eta", clip.TypeInt, int64(3), "for `asha`: one trial in `eta` goes on from each rung, and the rungs are `grace` times 1, `eta`, `eta`², … (with the default 3: 1, 3, 9, …)").min(2).max(100),
	key("min_trials", clip.TypeInt, int64(3), "how many other trials must have come as far before one is stopped; 3 when left out").min(1).max(1000),
}

// trials reads how trials are run: retries, backoff, stop and noise_floor. None of it is part of a
// run's identity.
func (x *ablater) trials() {
	x.retries()
	x.stop()
	e, given := x.keys["noise_floor"]
	if !given {
		return
	}
	x.a.NoiseFloor, _ = x.valueOf(e).(bool)
	if !x.a.NoiseFloor {
		return
	}
	if _, given := x.keys["baseline"]; !given && x.a.Design == Random {
		x.say(e.o.key(), e.p, "there is no baseline to run again").WithHint("give baseline: {a factor: its level}, or leave noise_floor out")
	}
	seeds, given := x.keys["seeds"]
	if !given || seeds.node.Kind == yaml.SequenceNode && len(seeds.node.Content) == 1 {
		x.say(e.o.key(), e.p, "one seed has no spread").WithHint("write seeds: [0, 1, 2], or leave noise_floor out")
	}
}

// DefaultRetries returns how often a trial is tried again when its spec says nothing of it.
func DefaultRetries() Retries { return transientRetries(1) }

// transientRetries returns n retries for each kind of failure that another attempt may not meet.
func transientRetries(n int) Retries {
	r := Retries{Of: map[fault.Kind]int{}, Backoff: 2 * time.Second}
	for _, k := range transient {
		r.Of[k] = n
	}
	return r
}

func (x *ablater) retries() {
	r := DefaultRetries()
	if e, given := x.keys["retries"]; given && e.node.Kind == yaml.MappingNode {
		m := x.converter.mapping(e.node, e.p)
		x.checker.section(m, retryKeys, e.p, e.key)
		for k, v := range m {
			if n, ok := v.(int64); ok {
				r.Of[fault.Kind(k)] = int(n)
			}
		}
	} else if given {
		f := fieldOf(e.key)
		f.Type = clip.TypeInt
		if n, ok := x.scalarOf(e, f).(int64); ok {
			r = transientRetries(int(n))
		}
	}
	if e, given := x.keys["backoff"]; given {
		text := x.converter.value(e.keyed, e.node, e.p)
		word, _ := text.(string)
		d, err := time.ParseDuration(word)
		if _, isBad := text.(bad); !isBad && (err != nil || d < 0 || d > maxBackoff) {
			x.say(e.o, e.p, "%s is not a duration from 0s to 1m", show(text)).WithHint("write 2s, or 500ms")
		}
		r.Backoff = d
	}
	x.a.Retries = r
}

func (x *ablater) stop() {
	e, given := x.keys["stop"]
	if !given {
		return
	}
	if e.node.Kind != yaml.MappingNode {
		x.say(e.o, e.p, "want a map, not %s", describe(e.node)).WithHint("write stop: {rule: median}")
		return
	}
	m := x.converter.mapping(e.node, e.p)
	keys := slices.Clone(stopKeys)
	for i := range keys {
		if !keys[i].Required {
			keys[i].Help = "" // too long for a hint
		}
	}
	x.checker.section(m, keys, e.p, e.key)
	if o := x.checker.origin(e.p.with("eta")); o.Source != "default" && m["rule"] == Median {
		x.say(o.key(), e.p.with("eta"), "has no effect with rule %s", Median).WithHint("it is for rule %s", ASHA)
	}
	x.a.Places["stop.metric"] = e.o
	if o := x.checker.origin(e.p.with("metric")); o.Source != "default" {
		x.a.Places["stop.metric"] = o
	}
	if data, err := json.Marshal(m); err == nil {
		x.a.Stop = &Stop{}
		_ = json.Unmarshal(data, x.a.Stop) // fails on values that have a fault
	}
}
