package main_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gopkg.in/yaml.v3"
)

// kubeJob holds what a kubelet heeds of a Job.
type kubeJob struct {
	Metadata struct{ Name string }
	Spec     struct {
		Suspend              bool
		Completions          int
		BackoffLimitPerIndex int `yaml:"backoffLimitPerIndex"`
		PodFailurePolicy     struct {
			Rules []struct {
				Action      string
				OnExitCodes struct{ Values []int } `yaml:"onExitCodes"`
			}
		} `yaml:"podFailurePolicy"`
		Template struct {
			Spec struct {
				Containers []struct {
					Command    []string
					WorkingDir string `yaml:"workingDir"`
				}
			}
		}
	}
}

func readJobs(t *testing.T, text string) (jobs []kubeJob) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var j kubeJob
		if err := d.Decode(&j); errors.Is(err, io.EOF) {
			return jobs
		} else if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, j)
	}
}

// pod prepares the container of a Job's index as a kubelet does.
func (j kubeJob) pod(t *testing.T, index int) *exec.Cmd {
	t.Helper()
	c := j.Spec.Template.Spec.Containers[0]
	words := make([]string, len(c.Command))
	for i, w := range c.Command {
		w = strings.ReplaceAll(w, "$$", "\x00")
		words[i] = strings.ReplaceAll(strings.ReplaceAll(w, "$(JOB_COMPLETION_INDEX)", strconv.Itoa(index)), "\x00", "$")
	}
	cmd := command(t, c.WorkingDir)
	cmd.Path, cmd.Args = words[0], words
	return cmd
}

// action returns what the Job's policy says of an exit code.
func (j kubeJob) action(code int) string {
	for _, r := range j.Spec.PodFailurePolicy.Rules {
		for _, c := range r.OnExitCodes.Values {
			if c == code {
				return r.Action
			}
		}
	}
	return "Count"
}

// TestASweepInPods runs the containers of the Jobs that submit writes, as processes: pods are told to stop and replaced as the Job
// says, then the merge runs.
func TestASweepInPods(t *testing.T) {
	sweep := strings.Replace(clusterSweep, "seeds: [0, 1, 2]", "seeds: [0]", 1)
	dir, local := t.TempDir()+"/a$(b)$$c", t.TempDir()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "sweep.yaml", sweep)
	write(t, local, "sweep.yaml", sweep)
	must(t, dir, "submit", "sweep.yaml", "--kubernetes", "--image", "registry/tandem:1", "--claim", "shared", "--tasks", "2", "--lease", "10s", "-o", "jobs.yaml")
	text, err := os.ReadFile(dir + "/jobs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	jobs := readJobs(t, string(text))
	if len(jobs) != 2 || jobs[0].Spec.Completions != 2 || jobs[0].Spec.Suspend || !jobs[1].Spec.Suspend || jobs[1].Metadata.Name != jobs[0].Metadata.Name+"-merge" {
		t.Fatalf("the Jobs are %+v", jobs)
	}
	var pods sync.WaitGroup
	stopped := make([]int, 2)
	for index := range stopped {
		pods.Go(func() {
			for failures := 0; failures <= jobs[0].Spec.BackoffLimitPerIndex; {
				pod := jobs[0].pod(t, index)
				var said strings.Builder
				pod.Stderr = &said
				if err := pod.Start(); err != nil {
					t.Error(err)
					return
				}
				if stopped[index] < 2 { // the node is drained
					_ = pod.Process.Signal(syscall.SIGTERM)
				}
				_ = pod.Wait()
				code := pod.ProcessState.ExitCode()
				switch action := jobs[0].action(code); {
				case code == 0:
					return
				case code < 0 && stopped[index] < 2: // killed before it heard signals
					stopped[index]++
				case action == "Ignore":
					stopped[index]++
				case action == "Count":
					failures++
					t.Logf("a pod ended with %d: %s", code, &said)
				default:
					t.Errorf("a pod ended with %d: %s", code, &said)
					return
				}
			}
			t.Errorf("index %d failed too often", index)
		})
	}
	pods.Wait()
	if out, err := jobs[1].pod(t, 0).CombinedOutput(); err != nil {
		t.Fatalf("the merge: %v\n%s", err, out)
	}
	if stopped[0] < 2 || stopped[1] < 2 {
		t.Errorf("pods were stopped %v times", stopped)
	}
	must(t, local, "run", "sweep.yaml")
	sameViews(t, dir, local)
	if out := must(t, dir, "submit", "sweep.yaml", "--kubernetes", "--image", "registry/tandem:1", "--claim", "shared"); !strings.Contains(out, "trials are done; nothing was submitted") {
		t.Errorf("submitting again says %s", out)
	}
}

func TestSubmitToKubernetesSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "sweep.yaml", clusterSweep)
	for want, args := range map[string][]string{
		"--image":                 {},
		"want one of them":        {"--slurm", "--image", "x", "--claim", "c"},
		"--partition is for":      {"--image", "x", "--claim", "c", "--partition", "gpu"},
		"--sbatch is for":         {"--image", "x", "--claim", "c", "--sbatch=--exclusive"},
		"--gpus a100:1":           {"--image", "x", "--claim", "c", "--gpus", "a100:1", "--dry-run"},
		"\"16GB\" is no size":     {"--image", "x", "--claim", "c", "--mem", "16GB", "--dry-run"},
		"\"My_Claim\" is no name": {"--image", "x", "--claim", "My_Claim", "--dry-run"},
		"does not lie in":         {"--image", "x", "--claim", "c", "--mount", "/shared", "--dry-run"},
	} {
		if r := try(t, dir, append([]string{"submit", "sweep.yaml", "--kubernetes"}, args...)...); r.code != 2 || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: code %d, %s; want %q", args, r.code, r.stderr, want)
		}
	}
	if _, err := os.Stat(dir + "/results"); err == nil {
		t.Error("a refused command wrote results")
	}
	out := must(t, dir, "submit", "sweep.yaml", "--kubernetes", "--image", "x", "--claim", "c", "--dry-run", "--no-merge")
	if jobs := readJobs(t, out); len(jobs) != 1 || jobs[0].Spec.Completions != 12 {
		t.Errorf("the Jobs are %+v", jobs)
	}
	if _, err := os.Stat(dir + "/results"); err == nil {
		t.Error("a dry run wrote results")
	}
}
