// Command scale-sim simulates a study on a cluster whose nodes fail: how long trials wait, how many attempts and how
// much work failures cost, what the shared folder has to bear and how long the merge takes.
//
//	go run ./tools/scale-sim                                    10⁵ trials on 10³ nodes
//	go run ./tools/scale-sim -trials 1000 -nodes 16 -node-mtbf 0 -json
//
// It follows the rules that tasks follow (core/experiment/ledger): a trial is taken by a lease, whoever gives no sign of life
// loses it, and an end is written once. The same seed gives the same figures.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"tandem/core/experiment/ledger"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

// settings describe a study and a cluster. Times that are means of exponential ones may be 0: it does not happen.
type settings struct {
	Seed          uint64
	Trials, Tasks int
	Nodes, Slots  int     // slots of a node
	TrialSec      float64 // work of a trial, on average
	Spread        float64 // standard deviation of its logarithm
	Hopeless      float64 // share of trials that fail however often they are tried
	ErrorShare    float64 // share of attempts that end with an error that may pass
	Retries       int     // after errors
	BackoffSec    float64 // before the first of them, then twice that
	TaskSec       float64 // from the start of a task to its first look for a trial
	StartSec      float64 // from taking a trial to its first step
	EverySec      float64 // work between checkpoints
	CheckpointSec float64 // for one
	LimitSec      float64 // a task's time in a slot
	PreemptSec    float64 // time in a slot until another job takes it, mean
	QueueSec      float64 // behind other jobs for a slot, mean
	RequeueSec    float64 // before a task that ran may start again
	NodeSec       float64 // until a node fails, mean
	RepairSec     float64
	NoticeSec     float64 // until the engine notices that a node is away
	FreezeSec     float64 // until a node freezes, mean
	FrozenSec     float64 // how long, mean
	ExpirySec     float64 // of a lease without a sign of life
	MergeRate     float64 // trials a second, of runner merge BUNDLE
	Fence         bool    // an end is written once; only tests turn it off
}

func main() {
	log.SetFlags(0)
	s := usual()
	hoursFlag := func(to *float64, name, text string) {
		flag.Func(name, fmt.Sprintf("%s (default %g h)", text, *to/3600), func(v string) error {
			var h float64
			if _, err := fmt.Sscan(v, &h); err != nil || h < 0 {
				return fmt.Errorf("want hours")
			}
			*to = h * 3600
			return nil
		})
	}
	flag.Uint64Var(&s.Seed, "seed", s.Seed, "seed of all that is random")
	flag.IntVar(&s.Trials, "trials", s.Trials, "trials of the study")
	flag.IntVar(&s.Nodes, "nodes", s.Nodes, "nodes of the cluster")
	flag.IntVar(&s.Slots, "slots", s.Slots, "tasks that a node runs at a time")
	flag.IntVar(&s.Tasks, "tasks", s.Tasks, "tasks of the array")
	flag.Float64Var(&s.ErrorShare, "errors", s.ErrorShare, "share of attempts that end with an error that may pass")
	flag.Float64Var(&s.Hopeless, "hopeless", s.Hopeless, "share of trials that fail however often they are tried")
	flag.Float64Var(&s.EverySec, "checkpoint-every", s.EverySec, "seconds between checkpoints")
	flag.Float64Var(&s.MergeRate, "merge-rate", s.MergeRate, "trials merged in a second")
	hoursFlag(&s.TrialSec, "trial", "hours of a trial")
	hoursFlag(&s.LimitSec, "time", "hours that a task may run")
	hoursFlag(&s.NodeSec, "node-mtbf", "hours between failures of a node, 0: none")
	hoursFlag(&s.FreezeSec, "freeze-mtbf", "hours between freezes of a node, 0: none")
	hoursFlag(&s.PreemptSec, "preempt-mtbf", "hours between preemptions of a task, 0: none")
	hoursFlag(&s.QueueSec, "queue", "hours behind other jobs before a task starts")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	if flag.NArg() > 0 || s.Trials < 1 || s.Nodes < 1 || s.Slots < 1 || s.Tasks < 1 || s.EverySec <= 0 || s.LimitSec <= 0 || s.MergeRate <= 0 {
		log.Fatal("usage: scale-sim [flags]; trials, nodes, slots, tasks, checkpoint-every, time and merge-rate are at least 1 or above 0 (-h lists all)")
	}
	began := time.Now()
	r := simulate(s)
	if *asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := r.print(os.Stdout, s, time.Since(began)); err != nil {
		log.Fatal(err)
	}
}

// usual returns the study and the cluster of docs/cluster.md.
func usual() settings {
	const minute, hour, day = 60.0, 3600.0, 86400.0
	return settings{
		Seed: 1, Trials: 100_000, Tasks: 1000, Nodes: 1000, Slots: 1,
		TrialSec: 20 * minute, Spread: 0.5, Hopeless: 0.01, ErrorShare: 0.005, Retries: spec.DefaultRetries().For(fault.PluginDied), BackoffSec: spec.DefaultRetries().Backoff.Seconds(),
		TaskSec: 3, StartSec: 10, EverySec: 5 * minute, CheckpointSec: 3, LimitSec: 4 * hour, PreemptSec: 2 * day, QueueSec: 5 * minute, RequeueSec: 121,
		NodeSec: 30 * day, RepairSec: 2 * hour, NoticeSec: 300, FreezeSec: 5 * day, FrozenSec: 2 * minute,
		ExpirySec: ledger.DefaultExpiry.Seconds(), MergeRate: 17, Fence: true,
	}
}
