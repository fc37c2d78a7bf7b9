package assemble

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/plugin/process"
)

// Threads returns the compute threads of each plugin by role. Towers and loss may each use all: the threads
// wait passively, so two busy towers share the cores without spinning against each other. Decoders get half,
// since they work beside them. cores says how many there are for a spec that says nothing of threads; 0: all of this machine.
func Threads(s *spec.Spec, cores int) map[string]int {
	n := cmp.Or(s.Threads, cores, runtime.NumCPU())
	workers := s.Data.Workers
	if workers == 0 {
		workers = max(1, min(n/2, 8))
	}
	m := map[string]int{}
	for _, role := range DataRoles(s) {
		m[role] = workers
	}
	for _, role := range Computing(s) {
		m[role] = n
	}
	for _, e := range s.Eval {
		m[RoleEval+e.Name], m[RoleEvalTrain+e.Name] = workers, workers
	}
	return m
}

// few is up to how many cores towers that could each use them all had better take turns. On two cores they take time from each
// other: 5 % of a step of ViT-B/32 and 8 to 15 % of the quickstart's. Nothing was measured on more.
const few = 2

// ParallelTowers reports whether both towers compute at the same time.
func ParallelTowers(s *spec.Spec, threads map[string]int) bool {
	if s.Train.ParallelTowers != spec.Auto {
		return s.Train.ParallelTowers == spec.On
	}
	cores := runtime.NumCPU()
	return cores > few || threads[RoleImage] < cores || GPU(s, RoleImage) != "" || GPU(s, RoleText) != ""
}

// callLimits returns the spec's timeouts as the plugin host takes them.
func callLimits(s *spec.Spec) process.Limits {
	t := s.Limits()
	return process.Limits{Start: time.Duration(t.Start), Configure: time.Duration(t.Configure), Batch: time.Duration(t.Batch),
		Compute: time.Duration(t.Compute), File: time.Duration(t.File), Ask: time.Duration(t.Ask)}
}

// guardOf returns the spec's limits of plugins as the plugin host takes them.
func guardOf(s *spec.Spec) process.Guard {
	g := s.Plugins
	memory := g.Memory.Bytes
	if g.Memory.Share > 0 {
		memory = int64(g.Memory.Share * float64(process.TotalMemory()))
	}
	return process.Guard{Strict: g.Strict(), Memory: memory, Processes: g.Processes, Cores: g.Cores, Log: g.LogLimit.Bytes}
}

// Unguarded says what the sandbox that a spec asks for cannot do on this machine.
func Unguarded(s *spec.Spec) (remarks []string) {
	if s.Plugins.Strict() {
		for _, lack := range process.Unconfined() {
			remarks = append(remarks, "plugins.sandbox is strict, but a plugin "+lack)
		}
	}
	return remarks
}

// computeFor returns what the plugin of a role computes with. Losses always compute in float32 and keep
// their activations.
func computeFor(s *spec.Spec, role string, threads map[string]int) clip.Compute {
	c := clip.Compute{Device: deviceOf(s, role), Threads: threads[role], Precision: s.Train.Precision,
		Checkpointing: s.Train.ActivationCheckpointing}
	switch {
	case IsLoss(role):
		c.Precision, c.Checkpointing = "f32", false
	case role == RoleTeacherImage || role == RoleTeacherText:
		c.Checkpointing = false // nothing is kept anyway
	}
	return c
}

// towerOf returns the tower of a role: of the model or of the teacher, whose towers are empty where there are none.
func towerOf(s *spec.Spec, role string) (t spec.Tower) {
	switch role {
	case RoleImage:
		t = s.Image
	case RoleText:
		t = s.Text
	default:
		if own := s.Teacher.Tower(modalityOf(role)); own != nil {
			t = *own
		}
	}
	return t
}

// modalityOf returns what the encoder of a role reads.
func modalityOf(role string) clip.Modality {
	if strings.HasSuffix(role, RoleText) {
		return clip.Text
	}
	return clip.Image
}

// encoderConfig returns the configuration of one of the model's towers, without captions.
func encoderConfig(s *spec.Spec, role string, threads map[string]int) clip.EncoderConfig {
	t := towerOf(s, role)
	return clip.EncoderConfig{With: t.With, EmbedDim: s.EmbedDim, Modality: modalityOf(role), Seed: s.Seed, Optimizer: s.TowerOptimizer(role),
		Compute: computeFor(s, role, threads), Freeze: t.Freeze, LoRA: t.LoRA}
}

// dataCacheDir returns the folder where datasets keep what they computed of files; "" when the user has no
// cache folder.
func dataCacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "tandem", "data")
}

// totalSteps returns the length of a run: of train.epochs and train.max_steps whichever is reached first.
func totalSteps(t spec.Train, perEpoch int) int {
	n := t.MaxSteps
	if t.Epochs > 0 {
		byEpoch := max(1, int(math.Round(t.Epochs*float64(perEpoch))))
		if n == 0 || byEpoch < n {
			n = byEpoch
		}
	}
	return n
}

// checkStarts reports a group that starts when a run of so many steps is over.
func checkStarts(s *spec.Spec, steps int) error {
	for i, g := range s.Train.Groups {
		if g.Start == 0 || g.Start < steps {
			continue
		}
		at := fmt.Sprintf("train.groups[%d].start", i)
		f := fault.New(fault.Invalid, "%d, but the run ends after %d steps", g.Start, steps).WithPath(at).
			WithHint("freeze: {params: [a glob]} leaves parameters as they are")
		if o := s.Locate(at); o.Line > 0 {
			f.WithFile(o.Source, o.Line, o.Column)
		}
		return f
	}
	return nil
}

// TrainConfig returns the settings of the step loop that every use of the model shares. Its caller adds the
// learning rate and, to keep anything, when to evaluate and where to write checkpoints.
func (m *Model) TrainConfig() train.Config {
	t, data := m.Spec.Train, m.Spec.Data
	return train.Config{
		Steps: m.Summary.Steps, BatchSize: t.BatchSize, MicroBatchSize: t.MicroBatchSize,
		Seed: m.Spec.Seed, Teacher: m.teacherDigest, Sources: m.plan(), MaxGradNorm: t.MaxGradNorm, Parallel: ParallelTowers(m.Spec, m.threads),
		DeduplicateCaptions: t.DeduplicateCaptions,
		LogEvery:            t.LogEvery, Prefetch: data.Prefetch, MaxBadShare: data.MaxBadShare,
	}
}

// EvalSection returns the place of evaluation i in the spec.
func EvalSection(i int) string { return fmt.Sprintf("eval[%d]", i) }

// placeOptimizer turns the path of a fault in a tower's optimiser into one below train. A group for both towers must
// fit both, so its fault says how to mean one.
func placeOptimizer(s *spec.Spec, f *fault.Error, tower string) {
	key := strings.TrimPrefix(f.Path, "optimizer.")
	var i int
	switch n, _ := fmt.Sscanf(key, "groups[%d]", &i); {
	case key == "ema_decay":
		key = "ema"
	case n == 1:
		at, both := s.GroupPath(tower, i)
		_, rest, _ := strings.Cut(key, "]")
		f.Path = at + rest
		if both {
			f.Msg = "for the " + tower + " tower: " + f.Msg
			f.WithHint("%s", strings.TrimPrefix(f.Hint+"; tower: image or text gives the group to that tower alone", "; "))
		}
		return
	}
	f.Path = "train." + key
}

// PlaceEval does as Place does for a fault of evaluation i, whose path may begin at one of the evaluation's own keys.
func PlaceEval(s *spec.Spec, err error, i int) error {
	if f, ok := err.(*fault.Error); ok && f != nil && f.File == "" && f.Path != "" && !strings.HasPrefix(f.Path, "with") {
		f.Path = EvalSection(i) + "." + f.Path
		if o := s.Locate(f.Path); o.Line > 0 {
			f.WithFile(o.Source, o.Line, o.Column)
		}
		return err
	}
	return Place(s, err, EvalSection(i))
}

// Place turns the path of a plugin's fault, which begins at its with, freeze or lora block or its optimiser, into a path of
// the spec, and adds where in the file that is. section names the plugin's part of the spec. It returns any other error
// as it is.
func Place(s *spec.Spec, err error, section string) error {
	f, ok := err.(*fault.Error)
	switch {
	case !ok || f == nil:
		return err
	case f.Path == "with", strings.HasPrefix(f.Path, "with."), strings.HasPrefix(f.Path, "freeze."), f.Path == "lora", strings.HasPrefix(f.Path, "lora."):
		f.Path = section + "." + f.Path
	case strings.HasPrefix(f.Path, "optimizer."):
		placeOptimizer(s, f, section)
	default:
		return err
	}
	if f.File == "" {
		if o := s.Locate(f.Path); o.Line > 0 {
			f.WithFile(o.Source, o.Line, o.Column)
		}
	}
	return f
}
