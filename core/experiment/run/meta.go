package run

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/results/store"
)

// meta is what the store is told when a run begins.
func meta(s *spec.Spec, used parts, identity string) store.RunMeta {
	commit, dirty := Revision(filepath.Dir(s.File))
	return store.RunMeta{
		Experiment: s.Name, Description: s.Description, Variant: s.Variant, Seed: int64(s.Seed),
		Metric: s.DecidingMetric(), Identity: identity, Spec: s.YAML(false), Params: s.Params(),
		Plugins: used.rows(), Device: s.Device, Threads: threads(s), GitCommit: commit, GitDirty: dirty,
	}
}

// threads are the compute threads of each plugin. Towers and loss may each use all: the threads wait
// passively, so two busy towers share the cores without spinning against each other. Decoders get
// half, since they work beside them.
func threads(s *spec.Spec) map[string]int {
	n := s.Threads
	if n == 0 {
		n = runtime.NumCPU()
	}
	workers := s.Data.Workers
	if workers == 0 {
		workers = max(1, min(n/2, 8))
	}
	m := map[string]int{roleImage: n, roleText: n, roleLoss: n, roleData: workers}
	for _, e := range s.Eval {
		m[roleEval+e.Name] = workers
	}
	return m
}

// Revision is the commit that the runner was built from, or else that of the folder dir.
func Revision(dir string) (commit string, dirty bool) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, kv := range info.Settings {
			switch kv.Key {
			case "vcs.revision":
				commit = kv.Value
			case "vcs.modified":
				dirty = kv.Value == "true"
			}
		}
	}
	if commit != "" {
		return commit, dirty
	}
	git := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "HEAD")
	if err != nil {
		return "", false // no git or no repository: nothing to record
	}
	status, err := git("status", "--porcelain", "--untracked-files=no")
	return commit, err == nil && status != ""
}

// facts are what the plugins said of themselves.
func facts(b Begin) map[string]any {
	return map[string]any{
		"parameters.total": b.Parameters(), "parameters.image": b.Image.Parameters,
		"parameters.text": b.Text.Parameters, "parameters.loss": b.Loss.Parameters,
		"parameters.trained": b.Trained(), "parameters.image.trained": b.Image.Parameters - b.Image.Frozen,
		"parameters.text.trained": b.Text.Parameters - b.Text.Frozen,
		"flops.image":             b.Image.FLOPs, "flops.text": b.Text.FLOPs,
		"backend.image": b.Image.Backend, "backend.text": b.Text.Backend, "backend.loss": b.Loss.Backend,
		"image_size": int64(b.Image.ImageSize), "context_length": int64(b.Text.ContextLength), "vocab_size": int64(b.Text.VocabSize),
		"data.samples": int64(b.Data.Len), "data.note": b.Data.Note, "steps.total": int64(b.Steps), "steps.epoch": int64(b.StepsPerEpoch),
	}
}

// deviceText is the device that computes, as the encoders say.
func deviceText(s *spec.Spec, image clip.EncoderInfo) string {
	if image.Backend == "" {
		return s.Device
	}
	return image.Backend
}
