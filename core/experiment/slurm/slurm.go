package slurm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"time"

	"tandem/core/fault"
)

// Available reports a machine that has none of Slurm's programs.
func Available() error {
	_, err := find("sbatch")
	return err
}

func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fault.New(fault.Unavailable, "there is no %s on this machine", program).
			WithHint("log in to a node of the cluster that has Slurm's programs; --dry-run prints the script, and runner run trains here")
	}
	return path, nil
}

// call runs a program of Slurm and returns what it printed. Its complaints become the error.
func call(ctx context.Context, stdin, program string, args ...string) (string, error) {
	path, err := find(program)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	// Options that the user has in the environment for other jobs are not for these: only the partition and account may come from there.
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "SBATCH_") || name == "SBATCH_PARTITION" || name == "SBATCH_ACCOUNT" {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		words := strings.TrimSpace(stderr.String())
		if words == "" {
			words = err.Error()
		}
		return "", explain(program, words)
	}
	return stdout.String(), nil
}

// explain returns the fault that Slurm's words tell of.
func explain(program, words string) error {
	low := strings.ToLower(words)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(low, p) {
				return true
			}
		}
		return false
	}
	e := fault.New(fault.Unavailable, "%s: %s", program, strings.ReplaceAll(words, "\n", "; "))
	switch {
	case has("invalid partition"):
		e.Kind = fault.Invalid
		e.WithHint("sinfo -s lists the partitions of this cluster")
	case has("invalid account", "invalid qos"):
		e.Kind = fault.Invalid
		e.WithHint("sacctmgr show associations user=$USER lists what you may use; --account and --qos choose")
	case has("maxarraysize", "invalid job array"):
		e.Kind = fault.Invalid
		e.WithHint("--tasks N makes a smaller array, whose tasks make several trials each")
	case has("more processors requested", "requested node configuration is not available", "invalid generic resource", "invalid feature", "time limit", "memory specification", "unrecognized option", "invalid node name", "invalid "):
		e.Kind = fault.Invalid
		e.WithHint("sinfo -N -l tells what nodes have")
	case has("unable to contact slurm", "connection refused", "configuration source", "zero bytes"):
		e.WithHint("does Slurm run here? sinfo tells; nothing was changed")
	}
	return e
}

// Submit hands a script to sbatch and returns the job's id.
func Submit(ctx context.Context, script string) (string, error) {
	out, err := call(ctx, script, "sbatch", "--parsable")
	if err != nil {
		return "", err
	}
	id, _, _ := strings.Cut(strings.TrimSpace(out), ";") // with a cluster's name behind it
	if _, err := strconv.Atoi(id); err != nil {
		return "", fault.New(fault.Internal, "sbatch printed %.80q, want a job's id", out)
	}
	return id, nil
}

// Job describes a job of the queue: a task of an array, those of it that wait together, or the merge.
type Job struct {
	ID     string `json:"job"` // 12_3, 12_[4-11] or 13
	State  string `json:"state"`
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// Array returns the id of the array that a task belongs to, or that of the job itself.
func (j Job) Array() string {
	id, _, _ := strings.Cut(j.ID, "_")
	return id
}

// Queue returns the jobs of this user with a comment that are in the queue.
func Queue(ctx context.Context, comment string) (jobs []Job, err error) {
	const mark = "\x1f"
	args := []string{"-h", "-a", "-o", strings.Join([]string{"%i", "%T", "%N", "%r", "%k"}, mark)}
	if me, err := user.Current(); err == nil { // a large cluster's queue is long
		args = append(args, "-u", me.Username)
	}
	out, err := call(ctx, "", "squeue", args...)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(out, "\n") {
		if f := strings.Split(line, mark); len(f) == 5 && f[4] == comment {
			j := Job{ID: f[0], State: f[1], Node: f[2]}
			if f[3] != "None" {
				j.Reason = f[3]
			}
			jobs = append(jobs, j)
		}
	}
	return jobs, nil
}

// Cancel takes jobs out of the queue and ends those that run, which then write a checkpoint.
func Cancel(ctx context.Context, ids []string) error {
	_, err := call(ctx, "", "scancel", ids...)
	return err
}

// Task tells what a process knows of the task of an array that it is.
type Task struct {
	Array   string // id of the job
	Index   int
	Restart int
}

// ThisTask returns the task that this process is; ok false when it is none.
func ThisTask() (t Task, ok bool) {
	t.Array = os.Getenv("SLURM_ARRAY_JOB_ID")
	index, err := strconv.Atoi(os.Getenv("SLURM_ARRAY_TASK_ID"))
	if t.Array == "" || err != nil {
		return Task{}, false
	}
	t.Index = index
	t.Restart, _ = strconv.Atoi(os.Getenv("SLURM_RESTART_COUNT"))
	return t, true
}

// ID returns the id of the task: 12_3.
func (t Task) ID() string { return fmt.Sprintf("%s_%d", t.Array, t.Index) }

// Requeue has Slurm start the task again, after the others that wait.
func (t Task) Requeue(ctx context.Context) error {
	_, err := call(ctx, "", "scontrol", "requeue", t.ID())
	return err
}

// End returns when the task's time is over; the zero time when there is no limit, or none is known.
func (t Task) End(ctx context.Context) (time.Time, error) {
	if seconds, err := strconv.ParseInt(os.Getenv("SLURM_JOB_END_TIME"), 10, 64); err == nil && seconds > 0 {
		return time.Unix(seconds, 0), nil
	}
	out, err := call(ctx, "", "scontrol", "show", "job", "-o", t.ID())
	if err != nil {
		return time.Time{}, err
	}
	return endOf(out)
}

// endOf returns the end of a job that scontrol shows; the zero time of one without a limit.
func endOf(shown string) (time.Time, error) {
	for _, field := range strings.Fields(shown) {
		name, value, _ := strings.Cut(field, "=")
		if name == "TimeLimit" && value == "UNLIMITED" {
			return time.Time{}, nil
		}
		if name == "EndTime" && value != "Unknown" {
			end, err := time.ParseInLocation("2006-01-02T15:04:05", value, time.Local)
			if err != nil {
				return time.Time{}, fault.New(fault.Internal, "scontrol: %w", err)
			}
			return end, nil
		}
	}
	return time.Time{}, fault.New(fault.Internal, "scontrol tells no end of the task")
}
