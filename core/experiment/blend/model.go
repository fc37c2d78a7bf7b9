package blend

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tandem/core/engine/weights/keymap"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/store"
)

// Model is one of the models that are mixed.
type Model struct {
	Ref  string // as it was asked for
	Run  string // "": it is a file
	Step int    // of the run's checkpoint
	Path string // of the weights or the checkpoint folder

	run        *store.RunDetail
	spec       *spec.Spec // of the run
	folder     bool       // Path is a checkpoint
	digest     string     // of all that is in Path
	parameters *assemble.Parameters
}

// Name returns what the model is called: run ID step N, or its path.
func (m Model) Name() string {
	if m.Run == "" {
		return m.Path
	}
	return fmt.Sprintf("run %s step %d", m.Run, m.Step)
}

var notOfNames = regexp.MustCompile(`[^A-Za-z0-9._+-]+`)

// label returns what the model is called in the name of a variant: the run's experiment and variant, its seed unless it is that one,
// and the step; the name of a file and the beginning of its digest.
func (m Model) label(seed int64) string {
	if m.run == nil {
		base := filepath.Base(m.Path)
		return notOfNames.ReplaceAllString(strings.TrimSuffix(base, ".safetensors"), "-") + "-" + m.digest[:6]
	}
	parts := []string{m.run.Experiment}
	if m.run.Variant != "" {
		parts = append(parts, m.run.Variant)
	}
	if m.run.Seed != seed {
		parts = append(parts, "seed"+strconv.FormatInt(m.run.Seed, 10))
	}
	return notOfNames.ReplaceAllString(strings.Join(append(parts, "step"+strconv.Itoa(m.Step)), "-"), "-")
}

// find finds what the models' names mean, and the spec of the towers.
func (b *Blend) find(ctx context.Context) error {
	b.spec = b.options.Spec
	for _, ref := range b.options.Models {
		m := Model{Ref: ref}
		if _, err := os.Stat(ref); err == nil {
			m.Path = ref
			_, err := os.Stat(filepath.Join(ref, train.ImageFile))
			m.folder = err == nil
		} else if err := b.findRun(ctx, &m); err != nil {
			return err
		}
		var err error
		if m.digest, err = assemble.WeightsDigest(m.Path); err != nil {
			return err
		}
		if m.spec != nil {
			b.spec = m.spec
		}
		b.Models = append(b.Models, m)
	}
	if b.spec == nil {
		return fault.New(fault.Invalid, "none of the models is a run, and weights do not say what their towers are").WithHint("--spec FILE")
	}
	return nil
}

// findRun finds a run and its checkpoint: the newest that is whole, or that of ref's @STEP.
func (b *Blend) findRun(ctx context.Context, m *Model) error {
	r, err := store.OpenReader(b.lab.DB)
	if err != nil {
		return err
	}
	defer r.Close()
	name, step := m.Ref, -1
	if before, after, found := strings.Cut(m.Ref, "@"); found {
		if step, err = strconv.Atoi(after); err != nil || step < 0 {
			return fault.New(fault.Invalid, "%q is no step of run %s, and no file", after, before).WithHint("RUN@STEP names a checkpoint")
		}
		name = before
	}
	id, err := r.FindRun(ctx, name)
	if err != nil {
		if f, ok := err.(*fault.Error); ok && f.Kind == fault.NotFound {
			f.WithHint("there is no file of that name either")
		}
		return err
	}
	if m.run, err = r.Get(ctx, id); err != nil {
		return err
	}
	recorded := m.run.Checkpoints
	if step >= 0 {
		recorded = slices.DeleteFunc(slices.Clone(recorded), func(c store.Checkpoint) bool { return c.Step != step })
	}
	c, err := b.lab.FindCheckpoint(id, recorded, train.Verify)
	if err != nil {
		return err
	}
	for _, message := range c.Skipped {
		b.watch.Event("warning", message)
	}
	if c.Dir == "" {
		var steps []string
		for _, c := range m.run.Checkpoints {
			steps = append(steps, strconv.Itoa(c.Step))
		}
		f := fault.New(fault.NotFound, "run %s has no checkpoint", id).WithHint("a run that is a blend keeps no weights: blend -o FILE writes them")
		if steps != nil {
			f = fault.New(fault.NotFound, "run %s has no checkpoint of step %d", id, step).WithHint("it has those of steps %s", strings.Join(steps, ", "))
		}
		return f
	}
	m.Run, m.Step, m.Path, m.folder = id, c.Step, c.Dir, true
	m.spec, err = b.lab.RecordedSpec(m.run)
	return err
}

// open opens the parameters of a model. Those of a file pass through the towers, which know how others call and shape them.
func (b *Blend) open(ctx context.Context, m *Model) (err error) {
	if m.folder {
		m.parameters, err = assemble.OpenCheckpoint(m.Path, b.options.Averaged)
		return err
	}
	towers, err := b.made.Towers(ctx)
	if err != nil {
		return err
	}
	b.watch.Doing("loading " + m.Path)
	remarks, err := towers.LoadWeights(ctx, m.Path)
	if err != nil {
		return err
	}
	b.remark(remarks)
	dir, err := os.MkdirTemp(b.dir, "model-")
	if err != nil {
		return fault.New(fault.Exhausted, "%w", err)
	}
	if dir, err = train.WriteCheckpoint(ctx, dir, towers.Parts, train.State{}); err != nil {
		return err
	}
	m.parameters, err = assemble.OpenCheckpoint(dir, false)
	return err
}

// alike makes sure that two models can be mixed.
func alike(a, b Model) error {
	differ := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "%s and %s cannot be blended: %s", a.Name(), b.Name(), fmt.Sprintf(format, args...)).
			WithHint("weights are blended one by one, so both models have to be of one shape; as a rule both began with the same weights (init.weights)")
	}
	settings := append(differences("image", a.parameters.Meta[keymap.MetaImage], b.parameters.Meta[keymap.MetaImage]),
		differences("text", a.parameters.Meta[keymap.MetaText], b.parameters.Meta[keymap.MetaText])...)
	if a.parameters.EmbedDim != b.parameters.EmbedDim {
		settings = append(settings, fmt.Sprintf("embed_dim is %d and %d", a.parameters.EmbedDim, b.parameters.EmbedDim))
	}
	because := strings.Join(settings, ", ")
	x, y := shapes(a), shapes(b)
	all := maps.Clone(x)
	maps.Copy(all, y)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p, inA := x[name]
		q, inB := y[name]
		var what string
		switch {
		case !inA || !inB:
			lacks := a
			if inA {
				lacks = b
			}
			what = fmt.Sprintf("%s has no tensor %s", lacks.Name(), name)
		case !slices.Equal(p, q):
			what = fmt.Sprintf("tensor %s is %v and %v", name, p, q)
		default:
			continue
		}
		if because != "" {
			what += " (" + because + ")"
		}
		return differ("%s", what)
	}
	switch {
	case because != "":
		return differ("%s", because)
	case a.parameters.Meta[keymap.MetaTokenizer] != b.parameters.Meta[keymap.MetaTokenizer]:
		return differ("their tokenizers differ, so that tokens of one number are other texts")
	}
	return nil
}

// shapes returns the shapes of a model's tensors but the loss's, by name.
func shapes(m Model) map[string][]int {
	out := map[string][]int{}
	for _, t := range m.parameters.Tensors {
		if keymap.Modality(t.Name) != "loss" {
			out[t.Name] = t.Shape
		}
	}
	return out
}

// differences says which settings of a tower are not the same.
func differences(tower, a, b string) (list []string) {
	var x, y map[string]any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		if a != b {
			return []string{"the " + tower + " towers' settings"}
		}
		return nil
	}
	all := maps.Clone(x)
	maps.Copy(all, y)
	say := func(of map[string]any, key string) string {
		if v, has := of[key]; has {
			text, _ := json.Marshal(v)
			return string(text)
		}
		return "left out"
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !reflect.DeepEqual(x[key], y[key]) {
			list = append(list, fmt.Sprintf("%s.%s is %s and %s", tower, key, say(x, key), say(y, key)))
		}
	}
	return list
}
