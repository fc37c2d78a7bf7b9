package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/kubernetes"
	"tandem/core/fault"
	"tandem/core/files/leftover"
	"tandem/core/results/report"
)

// kubernetesFlags holds the flags of submit that only Kubernetes heeds.
type kubernetesFlags struct {
	on                                  bool
	image, claim, mount, namespace, out string
}

// engineKubernetes is the engine of a bundle.Submission.
const engineKubernetes = "kubernetes"

// heeded lists the flags of sbatchFlags that Kubernetes heeds too.
var heeded = map[string]bool{"gpus": true, "cpus": true, "mem": true}

// podRetries is how often a task is started again whose process failed. Trials have retries of their own.
const podRetries = 3

func (f *kubernetesFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.on, "kubernetes", false, "write the Jobs with which Kubernetes runs the tasks, for kubectl; no cluster is asked")
	c.Flags().StringVar(&f.image, "image", "", "container `image` with the libraries that the runner needs, for Kubernetes; the runner itself comes with the bundle")
	c.Flags().StringVar(&f.claim, "claim", "", "`name` of the PersistentVolumeClaim of the shared folder, for Kubernetes")
	c.Flags().StringVar(&f.mount, "mount", "", "`folder` where this machine and the pods see the shared folder, for Kubernetes (default: the folder around --bundles)")
	c.Flags().StringVar(&f.namespace, "namespace", "", "`namespace` of the Jobs, for Kubernetes (default: kubectl's)")
	c.Flags().StringVarP(&f.out, "output", "o", "", "write the Jobs to this `file`, for Kubernetes (default: standard output)")
}

// check reports flags that do not go together.
func (f submitFlags) check(spec string) error {
	k := f.kubernetes
	switch {
	case f.slurm && k.on:
		return fault.New(fault.Invalid, "--slurm and --kubernetes: want one of them")
	case !f.slurm && !k.on:
		return fault.New(fault.Invalid, "where to?").WithHint("runner submit %s --slurm, or --kubernetes", shellWord(spec))
	case f.slurm && k != kubernetesFlags{}:
		return fault.New(fault.Invalid, "--image, --claim, --mount, --namespace and --output are for --kubernetes")
	case f.slurm:
		return nil
	case k.image == "" || k.claim == "":
		return fault.New(fault.Invalid, "pods need an image and the shared folder").
			WithHint("--image REGISTRY/NAME:TAG with the libraries of the runner, and --claim NAME of the PersistentVolumeClaim")
	}
	for _, x := range sbatchFlags {
		if *f.values[x.sbatch] != "" && !heeded[x.flag] {
			return fault.New(fault.Invalid, "--%s is for --slurm", x.flag)
		}
	}
	if len(f.options.Raw) > 0 {
		return fault.New(fault.Invalid, "--sbatch is for --slurm").WithHint("the Jobs that are written can be edited")
	}
	return nil
}

// writeJobs writes the Jobs with which Kubernetes runs the tasks of a bundle.
func (a *app) writeJobs(b *bundle.Bundle, f submitFlags, out Submitted) error {
	study, err := jobsOf(b, f, out.Tasks)
	if err != nil {
		return usage{err}
	}
	jobs, err := kubernetes.Manifest(study)
	if err != nil {
		return usage{err}
	}
	if f.dryRun {
		out.Script, out.Why = string(jobs), "dry run"
		return a.printSubmitted(out)
	}
	if _, err := b.Submit(bundle.Submission{Round: f.options.Round, Engine: engineKubernetes, Tasks: out.Tasks, Lease: f.options.Lease.Seconds()}, func(*bundle.Submission) error { return nil }); err != nil {
		return err
	}
	out.Array = kubernetes.Name(study.Name, "")
	if len(study.Merge) > 0 {
		out.Merge = kubernetes.Name(study.Name, kubernetes.MergeSuffix)
	}
	file := f.kubernetes.out
	switch {
	case file != "":
		if _, err := leftover.Replace(file, func(w *os.File) error { _, err := w.Write(jobs); return err }); err != nil {
			return fault.New(fault.Unavailable, "%w", err).WithFile(file, 0, 0)
		}
	case a.asJSON:
		out.Script = string(jobs)
	default:
		file = "FILE"
		if _, err := a.stdout.Write(jobs); err != nil {
			return err
		}
	}
	if a.asJSON {
		return report.Value(a.stdout, out)
	}
	return a.printNext(b, study, out, file)
}

// printNext says what to do with the Jobs.
func (a *app) printNext(b *bundle.Bundle, s kubernetes.Study, out Submitted, file string) error {
	where, space := "", ""
	if a.db != usual(envDB, defaultDB) {
		where = " --db " + shellWord(a.db)
	}
	if s.Namespace != "" {
		space = " -n " + s.Namespace
	}
	say(a.stderr, "%s: %d trials in %d tasks, Job %s; %d are done\n\nnext\n  kubectl apply -f %s\n  %s status %s%s\n",
		out.Experiment, out.Trials-out.Done, out.Tasks, out.Array, out.Done, shellWord(file), program(), shellWord(out.Experiment), where)
	if out.Merge != "" {
		say(a.stderr, "when the tasks have ended\n  kubectl%s patch job %s --patch '{\"spec\":{\"suspend\":false}}'\n", space, out.Merge)
		say(a.stderr, "or, on a machine that sees the folder\n")
	} else {
		say(a.stderr, "when the tasks have ended\n")
	}
	say(a.stderr, "  %s merge %s%s\n", program(), shellWord(b.Dir), where)
	return nil
}

// jobsOf says what Kubernetes is to run.
func jobsOf(b *bundle.Bundle, f submitFlags, tasks int) (s kubernetes.Study, err error) {
	k, o := f.kubernetes, f.options
	value := func(name string) string { return *f.values[name] }
	s = kubernetes.Study{
		Name: fmt.Sprintf("%s-%.8s-%d", b.Name(), b.Digest(), o.Round), Experiment: b.Name(), Namespace: k.namespace, Image: k.image,
		Tasks: tasks, Parallel: o.AtOnce, Claim: k.claim, User: max(0, os.Getuid()), Group: max(0, os.Getgid()),
		CPUs: value("cpus-per-task"), Memory: value("mem"), GraceSec: int(o.Lead.Seconds()), Retries: podRetries,
		Final: []int{exitBadInput}, Stopped: []int{exitInterrupted},
		Annotated: map[string]string{"bundle": "sha256:" + b.Digest()},
	}
	for _, p := range b.Plugins() {
		s.Annotated["plugin."+strings.ReplaceAll(p.Name, "/", ".")] = "sha256:" + p.SHA256
	}
	if gpus := value("gpus"); gpus != "" {
		if s.GPUs, err = strconv.Atoi(gpus); err != nil || s.GPUs < 0 {
			return s, fault.New(fault.Invalid, "--gpus %s: want a number", gpus).WithHint("what kind of GPU a pod gets is said by nodeSelector in the Jobs that are written")
		}
	}
	if s.Mount, err = mountOf(b, k.mount, o.DB); err != nil {
		return s, err
	}
	s.Command = []string{kubernetes.Literal(b.Runner()), "task", kubernetes.Literal(b.Dir), "--round", strconv.Itoa(o.Round), "--tasks", strconv.Itoa(tasks),
		"--index", kubernetes.Index, "--name", "kubernetes:" + kubernetes.Name(s.Name, "") + "_" + kubernetes.Index}
	if o.DB != "" {
		s.Merge = []string{kubernetes.Literal(b.Runner()), "merge", kubernetes.Literal(b.Dir), "--wait", "--db", kubernetes.Literal(o.DB)}
	}
	if o.Lease > 0 {
		lease := []string{"--lease", o.Lease.String()}
		s.Command = append(s.Command, lease...)
		if len(s.Merge) > 0 {
			s.Merge = append(s.Merge, lease...)
		}
	}
	return s, nil
}

// mountOf returns where pods see the shared folder, and checks that the bundle and the database lie in it.
func mountOf(b *bundle.Bundle, given, db string) (string, error) {
	mount := given
	if mount == "" {
		mount = filepath.Dir(b.Root())
	}
	mount, err := filepath.Abs(mount)
	if err != nil {
		return "", fault.New(fault.Invalid, "%w", err)
	}
	for flag, path := range map[string]string{"--bundles": b.Dir, "--db": db} {
		if inside, err := filepath.Rel(mount, path); path != "" && (err != nil || !filepath.IsLocal(inside)) {
			return "", fault.New(fault.Invalid, "%s: %s does not lie in %s, which pods see", flag, path, mount).
				WithHint("--mount FOLDER names the folder that the claim holds; it has the same path here and in pods (--no-merge does without --db)")
		}
	}
	return mount, nil
}
