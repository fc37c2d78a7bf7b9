package assemble

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/spec"
	"tandem/core/results/store"
)

// Summary tells what is known of a run when its training begins.
type Summary struct {
	ID            string // of the run; "" when nothing is recorded
	Spec          *spec.Spec
	Image, Text   clip.EncoderInfo
	Loss          clip.LossInfo               // of all losses together
	Losses        map[string]clip.LossInfo    // by role, of a sum
	Teachers      map[string]clip.EncoderInfo // by role
	Data          clip.DatasetInfo            // of all sources together
	Sources       []Source
	Steps         int // in all
	FromStep      int // steps done before, on a resume
	StepsPerEpoch int
	Ranks         []collective.Place // nil: one
	Cores         int                // see Threads
}

// Parameters counts the scalars of all parameters, frozen ones and the loss's included.
func (s Summary) Parameters() int64 {
	return s.Image.Parameters + s.Text.Parameters + s.Loss.Parameters
}

// Trained counts those of Parameters that are trained.
func (s Summary) Trained() int64 { return s.Parameters() - s.Image.Frozen - s.Text.Frozen }

// Device names the device that computes, as the image encoder says; the spec's when it does not say.
func (s Summary) Device() string {
	if s.Image.Backend == "" {
		return s.Spec.Device
	}
	return s.Image.Backend
}

// Remarks lists what the encoders say of how they compute, each sentence once.
func (s Summary) Remarks() []string {
	var list []string
	for _, r := range slices.Concat(s.Image.Remarks, s.Text.Remarks, s.Teachers[RoleTeacherImage].Remarks, s.Teachers[RoleTeacherText].Remarks) {
		if !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	return list
}

// Record stores the facts and the device of the run.
func (s Summary) Record(rec *store.Run) error {
	if err := rec.SetFacts(s.facts()); err != nil {
		return err
	}
	return rec.SetDevice(s.Device(), map[string]string{
		"image": s.Image.Backend, "text": s.Text.Backend, "loss": s.Loss.Backend})
}

// facts returns what the plugins said of themselves, by the names that the database keeps.
func (s Summary) facts() map[string]any {
	facts := map[string]any{
		"parameters.total": s.Parameters(), "parameters.image": s.Image.Parameters,
		"parameters.text": s.Text.Parameters, "parameters.loss": s.Loss.Parameters,
		"parameters.trained": s.Trained(), "parameters.image.trained": s.Image.Parameters - s.Image.Frozen,
		"parameters.text.trained": s.Text.Parameters - s.Text.Frozen,
		"flops.image":             s.Image.FLOPs, "flops.text": s.Text.FLOPs,
		"backend.image": s.Image.Backend, "backend.text": s.Text.Backend, "backend.loss": s.Loss.Backend,
		"image_size": int64(s.Image.ImageSize), "context_length": int64(s.Text.ContextLength), "vocab_size": int64(s.Text.VocabSize),
		"data.samples": int64(s.Data.Len), "data.note": s.Data.Note, "steps.total": int64(s.Steps), "steps.epoch": int64(s.StepsPerEpoch),
	}
	for role, info := range s.Losses {
		facts["parameters."+role], facts["backend."+role] = info.Parameters, info.Backend
	}
	for role, info := range s.Teachers {
		facts["parameters."+role], facts["backend."+role] = info.Parameters, info.Backend
	}
	return facts
}

// Meta returns what the store is told when a run begins. cores is that of Threads.
func Meta(s *spec.Spec, used Plugins, identity string, cores int) store.RunMeta {
	commit, dirty := Revision(filepath.Dir(s.File))
	return store.RunMeta{
		Experiment: s.Name, Description: s.Description, Variant: s.Variant, Seed: int64(s.Seed),
		Metric: s.DecidingMetric(), Identity: identity, Spec: s.YAML(false), Params: s.Params(),
		Plugins: used.Rows(), Device: s.Device, Threads: Threads(s, cores), GitCommit: commit, GitDirty: dirty,
	}
}

// Revision returns the commit that the runner was built from, or else the one of the folder dir, and whether
// files differed from it; "" when neither is known.
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
	git := func(args ...string) (string, error) { // without the lock of an index refreshed on the way, which would outlast the time-out
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, "git", append([]string{"--no-optional-locks", "-C", dir}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "HEAD")
	if err != nil {
		return "", false // no git or no repository: nothing to record
	}
	status, err := git("status", "--porcelain", "--untracked-files=no")
	return commit, err == nil && status != ""
}
