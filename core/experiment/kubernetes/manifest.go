// Package kubernetes writes the manifest with which Kubernetes runs the tasks of a study: an Indexed Job (batch/v1), a
// pod for each task, and a second Job that merges what they recorded. It needs no cluster and no client library.
package kubernetes

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"gopkg.in/yaml.v3"

	"tandem/core/fault"
)

// Study says what is to run and on what.
type Study struct {
	Name       string            // of the Job, any text: Manifest makes a name of Kubernetes of it
	Experiment string            // as runner knows it
	Annotated  map[string]string // what the bundle is, by name: digests
	Namespace  string            // "": that of kubectl's context
	Image      string            // of containers in which the runner finds its libraries
	Command    []string          // of a task, in which Index stands for the task's index
	Merge      []string          // the command that merges; none: no second Job
	Tasks      int               // pods
	Parallel   int               // pods at a time; 0: all
	Claim      string            // PersistentVolumeClaim of the shared folder
	Mount      string            // where the containers see it, an absolute path
	User       int               // whose files are written, 0: the image's user
	Group      int               // the user's
	CPUs       string            // of a pod, as Kubernetes writes quantities: "4", "500m"
	Memory     string            // of a pod: "16Gi"
	GPUs       int               // of a pod
	GraceSec   int               // from SIGTERM to SIGKILL, for a checkpoint
	Retries    int               // of a task whose process failed
	Final      []int             // exit codes after which a task is not tried again
	Stopped    []int             // exit codes of a task that was told to stop; they do not count as failures
}

// MergeSuffix ends the name of the Job that merges.
const MergeSuffix = "-merge"

// Index stands for a task's index in a command; Kubernetes puts it there.
const Index = "$(JOB_COMPLETION_INDEX)"

// Literal returns a word that Kubernetes leaves as it is in a command.
func Literal(word string) string { return strings.ReplaceAll(word, "$", "$$") }

// Manifest returns two YAML documents for kubectl apply: the tasks' Job and, suspended, the merge's. Errors are fault.Invalid with the
// field at fault.
func Manifest(s Study) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	jobs := []job{s.tasks()}
	if len(s.Merge) > 0 {
		jobs = append(jobs, s.merge())
	}
	for _, j := range jobs {
		if err := e.Encode(j); err != nil {
			return nil, fault.New(fault.Internal, "manifest: %w", err)
		}
	}
	if err := e.Close(); err != nil {
		return nil, fault.New(fault.Internal, "manifest: %w", err)
	}
	return b.Bytes(), nil
}

func (s Study) check() error {
	switch {
	case s.Image == "":
		return fault.New(fault.Invalid, "a pod needs an image").WithPath("image").WithHint("name one that holds runner and its plugins: --image REGISTRY/NAME:TAG")
	case s.Claim == "":
		return fault.New(fault.Invalid, "pods need the shared folder").WithPath("claim").WithHint("name the PersistentVolumeClaim that holds it: --claim NAME")
	case !isSubdomain(s.Claim):
		return fault.New(fault.Invalid, "%q is no name of a PersistentVolumeClaim", s.Claim).WithPath("claim").WithHint(subdomainRule)
	case s.Namespace != "" && !isLabel(s.Namespace):
		return fault.New(fault.Invalid, "%q is no name of a namespace", s.Namespace).WithPath("namespace").WithHint(labelRule)
	case !path.IsAbs(s.Mount) || strings.Contains(s.Mount, ":"):
		return fault.New(fault.Invalid, "%q is no place to mount a volume: want an absolute path without a colon", s.Mount).WithPath("mount")
	case s.Tasks < 1 || s.Tasks > maxCompletions:
		return fault.New(fault.Invalid, "%d tasks: a Job has 1 to %d", s.Tasks, maxCompletions).WithPath("tasks")
	case s.Parallel < 0 || s.GPUs < 0:
		return fault.New(fault.Invalid, "%d pods at a time with %d GPUs: want no negative number", s.Parallel, s.GPUs)
	case s.GraceSec < 1 || s.Retries < 0:
		return fault.New(fault.Invalid, "%d s of grace and %d retries: want at least 1 and 0", s.GraceSec, s.Retries)
	case s.CPUs != "" && !quantity.MatchString(s.CPUs):
		return fault.New(fault.Invalid, "%q is no number of CPUs", s.CPUs).WithPath("cpus").WithHint("write 4, 0.5 or 500m")
	case s.Memory != "" && !quantity.MatchString(s.Memory):
		return fault.New(fault.Invalid, "%q is no size of memory", s.Memory).WithPath("memory").WithHint("write 16Gi or 512Mi")
	}
	return nil
}

// maxCompletions is the API's bound on indexes; above it a Job also has to limit how many fail.
const maxCompletions = 100_000

func (s Study) tasks() job {
	parallel := s.Parallel
	if parallel == 0 || parallel > s.Tasks {
		parallel = s.Tasks
	}
	j := s.job(Name(s.Name, ""), s.Command)
	j.Spec.CompletionMode = "Indexed"
	j.Spec.Completions, j.Spec.Parallelism = s.Tasks, parallel
	retries := s.Retries
	j.Spec.BackoffLimitPerIndex = &retries
	j.Spec.PodReplacementPolicy = "Failed"
	rules := []rule{{Action: "Ignore", OnPodConditions: []condition{{Type: "DisruptionTarget", Status: "True"}}}}
	if len(s.Stopped) > 0 {
		rules = append(rules, rule{Action: "Ignore", OnExitCodes: exitCodes(s.Stopped)})
	}
	if len(s.Final) > 0 {
		rules = append(rules, rule{Action: "FailIndex", OnExitCodes: exitCodes(s.Final)})
	}
	j.Spec.PodFailurePolicy = &failurePolicy{Rules: rules}
	container := &j.Spec.Template.Spec.Containers[0]
	if r := s.resources(); len(r) > 0 {
		container.Resources = &resources{Requests: r, Limits: r}
	}
	return j
}

func (s Study) merge() job {
	j := s.job(Name(s.Name, MergeSuffix), s.Merge)
	limit := s.Retries
	j.Spec.Suspend, j.Spec.BackoffLimit = true, &limit
	j.Spec.Completions, j.Spec.Parallelism = 1, 1
	return j
}

// job returns what both Jobs have.
func (s Study) job(name string, command []string) job {
	labels := map[string]string{"app.kubernetes.io/name": "tandem", experimentLabel: labelValue(s.Experiment)}
	annotations := map[string]string{}
	for k, v := range s.Annotated {
		annotations["tandem/"+labelValue(k)] = v
	}
	return job{
		APIVersion: "batch/v1", Kind: "Job",
		Metadata: metadata{Name: name, Namespace: s.Namespace, Labels: labels, Annotations: annotations},
		Spec: jobSpec{Template: template{
			Metadata: metadata{Labels: labels, Annotations: annotations},
			Spec: podSpec{
				RestartPolicy:                 "Never",
				TerminationGracePeriodSeconds: s.GraceSec,
				SecurityContext:               s.user(),
				Containers: []container{{
					Name: containerName, Image: s.Image, Command: command, WorkingDir: s.Mount,
					VolumeMounts: []volumeMount{{Name: "shared", MountPath: s.Mount}},
				}},
				Volumes: []volume{{Name: "shared", Claim: &claim{Name: s.Claim}}},
			},
		}},
	}
}

// experimentLabel is the label of Jobs and pods that names the experiment.
const experimentLabel = "tandem/experiment"

// Selector returns what kubectl finds the Jobs of an experiment by.
func Selector(experiment string) string { return experimentLabel + "=" + labelValue(experiment) }

func (s Study) user() *securityContext {
	if s.User == 0 {
		return nil
	}
	return &securityContext{RunAsUser: s.User, RunAsGroup: s.Group}
}

func (s Study) resources() map[string]string {
	r := map[string]string{}
	if s.CPUs != "" {
		r["cpu"] = s.CPUs
	}
	if s.Memory != "" {
		r["memory"] = s.Memory
	}
	if s.GPUs > 0 {
		r["nvidia.com/gpu"] = fmt.Sprint(s.GPUs)
	}
	return r
}
