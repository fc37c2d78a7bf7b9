package assemble_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/plugin/wire"
	"tandem/core/plugin/wire/pb"
)

// quiet keeps what it is told.
type quiet struct{ doing, events []string }

func (q *quiet) Doing(what string)       { q.doing = append(q.doing, what) }
func (q *quiet) Event(_, message string) { q.events = append(q.events, message) }

// open assembles all plugins of a spec, and ends them with the test.
func open(t *testing.T, o assemble.Options, set ...string) *assemble.Model {
	t.Helper()
	l := labtest.New(t)
	o.Catalog = l.Catalog
	m, err := assemble.Open(t.Context(), labtest.Spec(t, l, set...), o, &quiet{})
	labtest.Must(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

func TestAModelHasAllItsParts(t *testing.T) {
	m := open(t, assemble.Options{}, "train.max_steps=0", "train.epochs=1.5")
	s := m.Summary
	if s.Image.ImageSize != labtest.Side || s.Text.ContextLength != labtest.Context || s.Data.Len != 32 || s.Parameters() != 9 || s.Trained() != 9 {
		t.Errorf("summary %+v", s)
	}
	if s.StepsPerEpoch != 4 || s.Steps != 6 {
		t.Errorf("%d steps of %d an epoch", s.Steps, s.StepsPerEpoch)
	}
	for _, role := range []string{assemble.RoleImage, assemble.RoleText, assemble.RoleLoss, assemble.RoleData, assemble.RoleEval + "dots"} {
		if m.Processes[role] == nil {
			t.Errorf("no process of %s", role)
		}
	}
	if len(m.Evals) != 1 || m.Evals[0].Info.Len != 8 || m.Evals[0].Image != m.Image {
		t.Errorf("evaluations %+v", m.Evals)
	}
	if m.Frozen != [2]bool{} || m.Ahead {
		t.Errorf("frozen %v, ahead %v", m.Frozen, m.Ahead)
	}
	b, err := m.Data.Batch(t.Context(), clip.BatchRequest{Indices: []int{0, 1}, Train: true})
	labtest.Must(t, err)
	if got := b.Images.Shape; !slices.Equal(got, []int{2, labtest.Side, labtest.Side, 3}) {
		t.Errorf("the data is configured for pictures of %v", got)
	}
	c := m.TrainConfig()
	if c.Steps != 6 || c.BatchSize != 8 || len(c.Sources) != 1 || c.Sources[0].Len != 32 || c.LogEvery != 1 || c.EvalEvery != 0 || c.Dir != "" {
		t.Errorf("step loop %+v", c)
	}
}

// A tower gets its place in a group of GPUs, and the step loop knows of it.
func TestATowerGetsItsCommunicator(t *testing.T) {
	var image, text *pb.Communicator
	m := open(t, assemble.Options{
		Communicators: map[string]*clip.Communicator{assemble.RoleImage: {ID: []byte("group"), Rank: 1, Size: 2}},
		Tap: func(role string) func(wire.Heard) {
			to := map[string]**pb.Communicator{assemble.RoleImage: &image, assemble.RoleText: &text}[role]
			if to == nil {
				return nil
			}
			return func(h wire.Heard) {
				if c, ok := h.Request.(*pb.EncoderConfig); ok {
					*to = c.GetCompute().GetCommunicator()
				}
			}
		}})
	if string(image.GetId()) != "group" || image.GetRank() != 1 || image.GetSize() != 2 || text != nil {
		t.Errorf("the image tower joins %v, the text tower %v", image, text)
	}
	if m.Groups != [2]bool{true, false} {
		t.Errorf("groups %v", m.Groups)
	}
}

func TestAFrozenTowerIsToldFromATrainedOne(t *testing.T) {
	m := open(t, assemble.Options{}, "image.freeze=all")
	if m.Frozen != [2]bool{true, false} || m.Summary.Trained() != 5 {
		t.Errorf("frozen %v, trained %d", m.Frozen, m.Summary.Trained())
	}
}

func TestWhatPluginsRefuseIsPlacedInTheSpec(t *testing.T) {
	l := labtest.New(t)
	s := labtest.Spec(t, l, "text.with.dim=7")
	_, err := assemble.Open(t.Context(), s, assemble.Options{Catalog: l.Catalog}, &quiet{})
	if err == nil || !strings.Contains(err.Error(), "want 4") {
		t.Errorf("a tower of another width: %v", err)
	}
	if _, err := assemble.OpenTowers(t.Context(), l.Catalog, s); err == nil {
		t.Error("a tower of another width is taken without data")
	}
	gone := labtest.Spec(t, l)
	gone.Data.Train[0].With = []byte(`{"file": "/nowhere/at/all"}`)
	if _, err := assemble.Open(t.Context(), gone, assemble.Options{Catalog: l.Catalog}, &quiet{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("data that is gone: %v", err)
	}
}

func TestCheckpointsOfTowersAreLoaded(t *testing.T) {
	l := labtest.New(t)
	texts := clip.ForwardRequest{Texts: []string{"one dot", "two"}}
	embed := func(m *assemble.Model) []float32 {
		out, _, err := m.Text.Forward(t.Context(), texts)
		labtest.Must(t, err)
		defer out.Free()
		return slices.Clone(out.F32())
	}
	first, err := assemble.OpenTowers(t.Context(), l.Catalog, labtest.Spec(t, l, "seed=3"))
	labtest.Must(t, err)
	defer first.Close()
	dir := t.TempDir()
	labtest.Must(t, first.Image.Save(t.Context(), dir+"/image.safetensors"))
	labtest.Must(t, first.Text.Save(t.Context(), dir+"/text.safetensors"))
	labtest.Must(t, first.Loss.Save(t.Context(), dir+"/loss.safetensors"))
	second, err := assemble.OpenTowers(t.Context(), l.Catalog, labtest.Spec(t, l, "seed=4"))
	labtest.Must(t, err)
	defer second.Close()
	if slices.Equal(embed(first), embed(second)) {
		t.Fatal("two seeds give the same towers")
	}
	labtest.Must(t, second.LoadCheckpoint(t.Context(), dir))
	if !slices.Equal(embed(first), embed(second)) {
		t.Error("the loaded tower embeds otherwise")
	}
	if err := second.LoadCheckpoint(t.Context(), t.TempDir()); err == nil {
		t.Error("an empty folder is loaded")
	}
}

// On a workbench the next model takes the datasets over that it asks for too, and no others.
func TestAWorkbenchHandsDatasetsOver(t *testing.T) {
	l := labtest.New(t)
	bench := &assemble.Workbench{}
	defer bench.Close()
	processes := func(set ...string) map[string]int {
		m, err := assemble.Open(t.Context(), labtest.Spec(t, l, set...), assemble.Options{Catalog: l.Catalog, Bench: bench}, &quiet{})
		labtest.Must(t, err)
		ids := map[string]int{}
		for role, p := range m.Processes {
			ids[role] = p.PID()
		}
		labtest.Must(t, m.Close())
		return ids
	}
	first, second, third := processes(), processes("train.lr=0.5"), processes("data.train.with.samples=16")
	for role, id := range first {
		isData := role == assemble.RoleData || strings.HasPrefix(role, assemble.RoleEval)
		if (second[role] == id) != isData {
			t.Errorf("%s is process %d and then %d", role, id, second[role])
		}
	}
	if third[assemble.RoleData] == second[assemble.RoleData] {
		t.Error("a dataset of other settings is taken over")
	}
	if third[assemble.RoleEval+"dots"] != second[assemble.RoleEval+"dots"] {
		t.Error("the dataset that stayed the same is not taken over")
	}
}

func TestPluginsThatChangedAreNamed(t *testing.T) {
	l := labtest.New(t)
	used, err := l.Plugins(labtest.Spec(t, l))
	labtest.Must(t, err)
	rows := used.Rows()
	var roles []string
	for _, r := range rows {
		roles = append(roles, r.Role)
	}
	if want := []string{"data.train", "image", "text", "loss", "eval.dots"}; !slices.Equal(roles, want) {
		t.Errorf("roles %v", roles)
	}
	if changed := used.ChangedSince(rows); changed != "" {
		t.Errorf("nothing changed, but %s", changed)
	}
	rows[2].SHA256, rows[3].SHA256 = "0123456789abcdef", "f123456789abcdef"
	changed := used.ChangedSince(rows)
	if !strings.Contains(changed, "encoders/letters (") || !strings.Contains(changed, "before 0123456789ab), losses/pull (") {
		t.Errorf("changed: %s", changed)
	}
}

func TestEveryMissingPluginIsNamed(t *testing.T) {
	l := labtest.New(t)
	s := labtest.Spec(t, l)
	s.Image.Encoder, s.Losses[0].Plugin = "nosuch", "neither"
	_, err := l.Plugins(s)
	if err == nil || !strings.Contains(err.Error(), "image: ") || !strings.Contains(err.Error(), "loss: ") {
		t.Errorf("got %v", err)
	}
}

// Runs that compute the same have one identity, whatever they are called.
func TestIdentityIsOfWhatIsComputed(t *testing.T) {
	l := labtest.New(t)
	identity := func(set ...string) string {
		s := labtest.Spec(t, l, set...)
		used, err := l.Plugins(s)
		labtest.Must(t, err)
		id, err := new(assemble.Identifier).Identity(s, used)
		labtest.Must(t, err)
		return id
	}
	same := identity()
	if identity("name=other") != same {
		t.Error("the name counts")
	}
	for _, set := range []string{"seed=9", "train.lr=0.5", "data.train.with.samples=16"} {
		if identity(set) == same {
			t.Errorf("%s does not count", set)
		}
	}
	s := labtest.Spec(t, l)
	used, err := l.Plugins(s)
	labtest.Must(t, err)
	used[1].Binary.SHA256 = "another"
	if id, err := new(assemble.Identifier).Identity(s, used); err != nil || id == same {
		t.Errorf("another binary of the image tower does not count: %v", err)
	}
	s.Init = spec.Init{Weights: "/nowhere/at/all.safetensors", Towers: []string{"image", "text"}}
	if _, err := new(assemble.Identifier).Identity(s, used); fault.KindOf(err) != fault.NotFound && fault.KindOf(err) != fault.Invalid {
		t.Errorf("weights that are not there: %v", err)
	}
}

func TestTheMetaOfARunSaysHowItIsComputed(t *testing.T) {
	l := labtest.New(t)
	s := labtest.Spec(t, l, "seed=5")
	used, err := l.Plugins(s)
	labtest.Must(t, err)
	m := assemble.Meta(s, used, "identity", 0)
	if m.Experiment != "tiny" || m.Seed != 5 || m.Identity != "identity" || m.Device != "cpu" || len(m.Plugins) != 5 || m.Threads["image"] != 1 || !strings.Contains(m.Spec, "dots") {
		t.Errorf("%+v", m)
	}
}

// The content of a teacher's weights counts, and where it lies does not.
func TestATeacherIsPartOfTheIdentity(t *testing.T) {
	l := labtest.New(t)
	path := func(name, content string) string {
		p := filepath.Join(t.TempDir(), name)
		labtest.Must(t, weights.Write(p, []weights.Tensor{weights.FromF32(content, []float32{1})}, nil))
		return p
	}
	identity := func(init spec.Init, image bool) string {
		s := labtest.Spec(t, l)
		s.Teacher = &spec.Teacher{Text: &spec.Tower{Encoder: "letters", Device: "cpu"}, EmbedDim: 4, Init: init}
		if image {
			s.Teacher.Image = &spec.Tower{Encoder: "tint", Device: "cpu"}
		}
		used, err := l.Plugins(s)
		labtest.Must(t, err)
		id, err := new(assemble.Identifier).Identity(s, used)
		labtest.Must(t, err)
		return id
	}
	a, same, b := path("a.safetensors", "a"), path("b.safetensors", "a"), path("a.safetensors", "b")
	one := identity(spec.Init{Weights: a, Towers: []string{"text"}}, false)
	if identity(spec.Init{Weights: same, Towers: []string{"text"}}, false) != one {
		t.Error("where the weights lie counts")
	}
	for what, other := range map[string]string{
		"other weights":   identity(spec.Init{Weights: b, Towers: []string{"text"}}, false),
		"no weights":      identity(spec.Init{}, false),
		"another teacher": identity(spec.Init{Weights: a, Towers: []string{"image", "text"}}, true),
	} {
		if other == one {
			t.Errorf("%s: the identity is the same", what)
		}
	}
	s := labtest.Spec(t, l)
	s.Teacher = &spec.Teacher{Text: &spec.Tower{Encoder: "letters"}, Init: spec.Init{Weights: "/nowhere/at/all.safetensors"}}
	if _, err := new(assemble.Identifier).Identity(s, nil); err == nil || !strings.Contains(err.Error(), "teacher.init.weights") {
		t.Errorf("weights that are not there: %v", err)
	}
}
