package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"tandem/core/experiment/slurm/slurmtest"
)

// cluster is a private Slurm cluster of two nodes, and a folder for what is submitted to it.
type cluster struct {
	*slurmtest.Cluster
	t   *testing.T
	dir string // what every node sees
}

// startCluster starts one, or skips the test where Slurm is not installed.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir()}
	t.Cleanup(func() { // after the cluster has ended
		logs, _ := filepath.Glob(filepath.Join(c.dir, "results/cluster/*/logs/*"))
		for _, path := range logs {
			if text, _ := os.ReadFile(path); t.Failed() {
				t.Logf("%s\n%s", filepath.Base(path), text[max(0, len(text)-3000):])
			}
		}
	})
	c.Cluster = slurmtest.Start(t, 2)
	return c
}

// trialState is what runner status says of a trial.
type trialState struct {
	Trial, Status, Task, Host string
	Step, Attempts            int
	History                   []struct {
		Attempt int
		Owner   struct{ Task, Host string }
		End     *struct{ Status, Why, Message string }
	}
}

type clusterState struct {
	Bundle string
	Trials []trialState
	Counts map[string]int
	Jobs   []clusterJob
}

type clusterJob struct{ Job, State, Node string }

// status asks runner how an experiment goes.
func (c *cluster) status(experiment string, args ...string) (s clusterState) {
	c.t.Helper()
	r := try(c.t, c.dir, append([]string{"status", experiment, "--json"}, args...)...)
	if r.code > 1 {
		c.t.Fatalf("status: %s", r.stderr)
	}
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		c.t.Fatalf("%v: %s", err, r.stdout)
	}
	return s
}
