// Package assemble starts the plugins that a spec names and configures them in the order that they need.
//
// What comes out is a Model: both towers and the loss, with the training data and that of every evaluation
// (Open) or without any data (OpenTowers). Before anything starts, the package says which binaries a spec uses
// (Plugins), what a run of it is identical to (Identifier), whether this machine has its devices (CheckDevices),
// and how the memory of GPUs is shared out. It knows no folders of runs and records nothing by itself.
package assemble

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/plugin/wire"
)

// Model holds the plugins of a spec, started and configured.
type Model struct {
	*Starter
	train.Parts
	Summary   Summary
	Evals     []eval.Parts                // beside Spec.Eval
	Processes map[string]*process.Process // by role
	Unguarded []string                    // what the sandbox cannot do here; a watcher was told
	Remarks   []string                    // what was found while the parameters were initialised

	told          sync.Mutex // guards Summary.Teachers while encoders are configured
	losses        []lossProcess
	teacherDigest string                        // names the weights that the teachers have of the spec; "" for none
	data          []Dataset                     // the sources of the training data, then the data of each evaluation
	ranks         int                           // that share each batch
	communicators map[string]*clip.Communicator // see Options
	bench         *Workbench                    // not nil: the session is its, and outlives the model
}

// Options says how the plugins of a model are started.
type Options struct {
	Catalog *catalog.Catalog
	Plugins Plugins            // the binaries, which must not have changed; nil: whatever the catalog finds
	LogDir  string             // of the plugins' logs; "": none are kept
	Bench   *Workbench         // of a sweep's trials; nil: the model has a session of its own
	Cores   int                // see Threads
	Ranks   int                // that share each batch; 0: one
	Observe func(process.Call) // is told of every call, from the goroutine that made it; may be nil
	Slow    func(process.Slow) // is told of calls that take long; may be nil
	// Tap returns who is told of every call of the plugin of a role, whole; nil, as Tap may be: nobody. Not with a Bench.
	Tap func(role string) func(wire.Heard)
	// Resumes says that a checkpoint is to be loaded: the text encoder then gets no captions, because its
	// vocabulary comes with the checkpoint, and init.weights is not read.
	Resumes bool
	// Communicators are of the towers whose GPUs add gradients up over the ranks among themselves, by role.
	Communicators map[string]*clip.Communicator
}

// Open starts and configures all plugins of s, and loads init.weights.
func Open(ctx context.Context, s *spec.Spec, o Options, w Watcher) (m *Model, err error) {
	explainDevices(s, w)
	unguarded := Unguarded(s)
	for _, remark := range unguarded {
		w.Event("warning", remark)
	}
	w.Doing("starting plugins")
	defer w.Doing("")
	m = &Model{Starter: &Starter{Spec: s, threads: Threads(s, o.Cores), logDir: o.LogDir, plugins: o.Plugins}, Unguarded: unguarded,
		bench: o.Bench, ranks: max(1, o.Ranks), communicators: o.Communicators, Evals: make([]eval.Parts, len(s.Eval)), Processes: map[string]*process.Process{}}
	m.data = datasets(s, m.threads)
	if o.Bench != nil && o.Bench.session != nil {
		m.session = o.Bench.session
	} else if m.session, err = process.NewSession(process.SessionOptions{Catalog: o.Catalog, LogDir: o.LogDir, Observe: o.Observe, Tap: o.Tap}); err != nil {
		return nil, err
	}
	if o.Bench != nil {
		o.Bench.session = m.session
	}
	session := m.session // m is nil after an error
	defer func() {
		switch {
		case err != nil && o.Bench != nil:
			o.Bench.Close()
		case err != nil:
			_ = session.Close() // the first error counts
		}
	}()
	m.session.SetLimits(callLimits(s))
	m.session.OnSlow(o.Slow)
	if err := m.colocate(o.Catalog, w); err != nil {
		return nil, err
	}
	if err := m.start(ctx, teachers(s)); err != nil {
		return nil, err
	}
	if err := m.configure(ctx, !o.Resumes, w); err != nil {
		return nil, err
	}
	if !o.Resumes && s.Init.Weights != "" {
		w.Doing("loading " + s.Init.Weights)
		if m.Remarks, err = m.model().initialise(ctx, s.Init.Weights, s.Init.Towers); err != nil {
			return nil, err
		}
	}
	if err = m.teach(ctx, w); err != nil {
		return nil, err
	}
	m.Frozen = [2]bool{s.Image.Freeze.Any() && m.Summary.Image.Frozen == m.Summary.Image.Parameters,
		s.Text.Freeze.Any() && m.Summary.Text.Frozen == m.Summary.Text.Parameters}
	m.Buckets = [2][]int{m.Summary.Image.BucketSizes, m.Summary.Text.BucketSizes}
	m.Groups = [2]bool{o.Communicators[RoleImage] != nil, o.Communicators[RoleText] != nil}
	m.LossRows, m.LossBuckets = true, nil
	for _, l := range m.losses {
		m.LossRows = m.LossRows && hasCapability(l.process.Descriptor, clip.CapRows)
		m.LossBuckets = append(m.LossBuckets, l.info.BucketSizes)
	}
	m.Together = m.syncsNorm(RoleImage)
	m.Ahead = GPU(s, RoleImage) != "" && hasCapability(m.Processes[RoleImage].Descriptor, clip.CapPrefetch)
	perEpoch := stepsPerEpoch(s, m.Summary.Data.Len)
	m.Summary.Spec, m.Summary.StepsPerEpoch, m.Summary.Steps = s, perEpoch, totalSteps(s.Train, perEpoch)
	if o.Bench != nil { // its steps are not the run's
		return m, nil
	}
	if err = checkStarts(s, m.Summary.Steps); err != nil {
		return nil, err
	}
	return m, nil
}

// OpenTowers starts and configures both towers and the loss of s, without data. The text encoder gets no
// captions: its tokenizer comes with the settings or with the weights. The parameters are drawn at random until
// some are loaded.
func OpenTowers(ctx context.Context, c *catalog.Catalog, s *spec.Spec) (*Model, error) {
	return openTowers(ctx, c, s, nil)
}

// openTowers does as OpenTowers, with the binaries given; nil: whatever the catalog finds.
func openTowers(ctx context.Context, c *catalog.Catalog, s *spec.Spec, plugins Plugins) (*Model, error) {
	untaught := *s // teachers are not started
	untaught.Teacher = nil
	if err := CheckDevices(&untaught); err != nil {
		return nil, err
	}
	starter, err := NewStarter(c, s)
	if err != nil {
		return nil, err
	}
	starter.plugins = plugins
	m := &Model{Starter: starter, Summary: Summary{Spec: s}, Processes: map[string]*process.Process{}}
	err = m.start(ctx, nil)
	if err == nil {
		if m.Negatives = 0; m.wants(clip.InputTextNegatives) {
			m.Negatives = plannedNegatives(s)
		}
		early, late := m.configureLosses(nil)
		err = atOnce(ctx, slices.Concat(early, late, []func(context.Context) error{m.configureImage(0), m.configureText(0, nil)})...)
		m.describeLosses()
	}
	if err != nil {
		_ = m.Close() // the first error counts
		return nil, err
	}
	return m, nil
}

// Attached says which plugins were started by hand (process.EnvReattach), as a clause; "" when none were.
func (m *Model) Attached() string {
	names := map[string]bool{}
	add := func(p *process.Process) {
		if p != nil && p.Attached() {
			names[p.Name()+" was started by hand"] = true
		}
	}
	for _, p := range m.Processes {
		add(p)
	}
	for _, d := range m.data {
		add(d.Process)
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

// Close ends the plugins. On a workbench it leaves the datasets for the next model.
func (m *Model) Close() error {
	if m.bench == nil {
		return m.session.Close()
	}
	keep := map[*process.Process]bool{}
	for _, d := range m.data {
		keep[d.Process] = true
	}
	m.bench.keep(m.data)
	var wg sync.WaitGroup
	for _, p := range m.Processes {
		if !keep[p] {
			wg.Go(p.Stop)
		}
	}
	wg.Wait()
	return nil
}

// atOnce calls functions at once and returns the first error, of which the others are told by their context.
// A panic becomes an error.
func atOnce(ctx context.Context, calls ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, call := range calls {
		g.Go(fault.Safely(func() error { return call(ctx) }))
	}
	return g.Wait()
}

// start starts every process, all at once: of the teachers those with the roles given. Datasets that the workbench
// kept run already.
func (m *Model) start(ctx context.Context, teachers []string) error {
	var image, text *process.Process
	calls := []func(context.Context) error{
		func(ctx context.Context) (err error) { m.Image, image, err = m.startTower(ctx, RoleImage); return err },
		func(ctx context.Context) (err error) { m.Text, text, err = m.startTower(ctx, RoleText); return err },
	}
	m.losses = make([]lossProcess, len(LossRoles(m.Spec)))
	for i, role := range LossRoles(m.Spec) {
		l := &m.losses[i]
		l.role = role
		calls = append(calls, func(ctx context.Context) (err error) { l.loss, l.process, err = m.startLoss(ctx, role); return err })
	}
	taught := make([]*process.Process, len(teachers))
	for i, role := range teachers {
		calls = append(calls, func(ctx context.Context) (err error) {
			*m.teacher(role), taught[i], err = m.startTower(ctx, role)
			return err
		})
	}
	for i := range m.data {
		d := &m.data[i]
		if m.bench.handOver(d, m.plugins.digestOf(d.role)); !d.kept {
			calls = append(calls, func(ctx context.Context) error { return d.start(ctx, m.Starter) })
		}
	}
	if err := atOnce(ctx, calls...); err != nil {
		return err
	}
	m.Processes[RoleImage], m.Processes[RoleText] = image, text
	for i, role := range teachers {
		m.Processes[role] = taught[i]
	}
	m.joinLosses()
	return nil
}

// configure configures the plugins in the order that they need: the image encoder says how large its pictures
// are; the training data then gives the captions from which the text encoder learns its vocabulary, where it
// has one to learn. A loss that takes negatives comes after the data too, which says how many there are.
func (m *Model) configure(ctx context.Context, withCaptions bool, w Watcher) (err error) {
	w.Doing("asking for memory")
	memory, err := m.budgets(ctx)
	if err != nil {
		return err
	}
	w.Doing("configuring the image encoder")
	early, late := m.configureLosses(memory)
	if err := atOnce(ctx, append(early, m.configureImage(memory[RoleImage]))...); err != nil {
		return err
	}
	w.Doing("opening the data")
	if err := m.configureData(ctx); err != nil {
		return err
	}
	if err := m.checkInputs(); err != nil {
		return err
	}
	w.Doing("configuring the text encoder")
	var captions []string
	if withCaptions && hasCapability(m.Processes[RoleText].Descriptor, clip.CapVocabulary) {
		if captions, err = m.Data.Captions(ctx, 0); err != nil {
			return Place(m.Spec, err, RoleData)
		}
	}
	late = append(late, m.configureText(memory[RoleText], captions))
	for _, role := range teachers(m.Spec) {
		late = append(late, m.configureTeacher(role, memory[role]))
	}
	if err := atOnce(ctx, late...); err != nil {
		return err
	}
	m.describeLosses()
	for i := range m.Evals {
		m.Evals[i].Image, m.Evals[i].Text = m.Image, m.Text
	}
	return nil
}

// configureImage returns the call that configures the image tower; memory limits what it may take of a GPU, 0
// for no limit.
func (m *Model) configureImage(memory int64) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		c := m.towerConfig(RoleImage)
		c.Compute.MemoryLimit = memory
		if m.Summary.Image, err = m.Image.Configure(ctx, c); err != nil {
			return Place(m.Spec, err, RoleImage)
		}
		return checkTower(RoleImage, m.Summary.Image, clip.Image, m.Spec.EmbedDim)
	}
}

// configureText returns the call that configures the text tower, which may learn its vocabulary from captions.
func (m *Model) configureText(memory int64, captions []string) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		c := m.towerConfig(RoleText)
		c.Compute.MemoryLimit, c.Captions = memory, captions
		if m.Summary.Text, err = m.Text.Configure(ctx, c); err != nil {
			return Place(m.Spec, err, RoleText)
		}
		return checkTower(RoleText, m.Summary.Text, clip.Text, m.Spec.EmbedDim)
	}
}

// configureData configures all datasets at once, for pictures as the image tower takes them.
func (m *Model) configureData(ctx context.Context) error {
	calls := make([]func(context.Context) error, len(m.data))
	for i := range m.data {
		calls[i] = func(ctx context.Context) error {
			return m.data[i].configure(ctx, m.Starter, m.Summary.Image.ImageSize)
		}
	}
	if err := atOnce(ctx, calls...); err != nil {
		return err
	}
	for _, d := range m.data {
		m.Processes[d.role] = d.Process
	}
	m.placeEvals()
	own := m.data[:len(m.Spec.Data.Train)]
	m.Data, m.Summary.Data = joined(m.Spec, own)
	m.Summary.Sources = sources(m.Spec, own)
	return nil
}

// checkTower holds what an encoder says of itself against what it was asked for.
func checkTower(role string, info clip.EncoderInfo, want clip.Modality, dim int) error {
	switch {
	case info.Modality != want:
		return fault.New(fault.Invalid, "the encoder reads %ss, want %ss", info.Modality, want).WithPath(role + ".encoder")
	case info.EmbedDim != dim:
		return fault.New(fault.Invalid, "the encoder ends in %d dimensions, want %d", info.EmbedDim, dim).
			WithPath(strings.TrimSuffix(role, string(want)) + "embed_dim")
	case want == clip.Image && info.ImageSize < 1:
		return fault.New(fault.Internal, "the encoder takes pictures of %d pixels", info.ImageSize).WithPath(role + ".encoder")
	}
	return nil
}
