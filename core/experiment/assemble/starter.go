package assemble

import (
	"context"
	"path/filepath"

	"tandem/core/clip"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/spec"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
)

// HandoverDir names the folder, beside that of the logs, through which guarded plugins save; it is gone when they are.
const HandoverDir = "handover"

// Starter starts plugins of one spec in one session, each with the threads that it is due. A Model starts all
// of them; whoever needs one alone, to look at data, asks for that one.
type Starter struct {
	Spec    *spec.Spec
	session *process.Session
	threads map[string]int // by role
	logDir  string         // "": logs are not kept
	plugins Plugins        // the binaries to start; nil: whatever the catalog finds
	yields  bool           // datasets give way to other processes

	together *process.Colocated // serves towers and losses; nil: each has a process of its own
}

// NewStarter opens a session for plugins of s. The caller closes it, which ends the plugins.
func NewStarter(c *catalog.Catalog, s *spec.Spec) (*Starter, error) {
	session, err := process.NewSession(process.SessionOptions{Catalog: c, Limits: callLimits(s)})
	if err != nil {
		return nil, err
	}
	return &Starter{Spec: s, session: session, threads: Threads(s, 0)}, nil
}

// Yield makes datasets that are started from now on compute on one thread and give way to all other processes that compute.
func (x *Starter) Yield() {
	x.yields = true
	for role := range x.threads {
		x.threads[role] = 1
	}
}

// Threads returns how many threads the plugin of a role computes with.
func (x *Starter) Threads(role string) int { return x.threads[role] }

// Memory returns what the plugins share with the runner; the zero value where nothing is shared.
func (x *Starter) Memory() collective.Memory {
	arena := x.session.Arena()
	if arena == nil {
		return collective.Memory{}
	}
	return collective.Memory{File: arena.File(), Bytes: arena.Memory()}
}

// Close ends the plugins.
func (x *Starter) Close() error { return x.session.Close() }

// Stopping says whether a call that takes long is to be given up: a plugin that does not answer must not keep
// a run from stopping.
func (x *Starter) Stopping(yes bool) { x.session.Stopping(yes) }

// OnSlow sets who is told of calls that take long; nil: nobody.
func (x *Starter) OnSlow(tell func(process.Slow)) { x.session.OnSlow(tell) }

func (x *Starter) options(role string, with []byte) process.StartOptions {
	o := process.StartOptions{Label: role, Threads: x.threads[role], LogDir: x.logDir, SHA256: x.plugins.digestOf(role),
		Guard: guardOf(x.Spec), Python: x.Spec.Python, With: with, Read: x.Spec.Plugins.Read,
		Colocated: x.together}
	if x.logDir != "" {
		o.Files = filepath.Join(filepath.Dir(x.logDir), HandoverDir)
	}
	return o
}

// startTower starts the tower of a role, RoleImage or RoleText.
func (x *Starter) startTower(ctx context.Context, role string) (clip.Encoder, *process.Process, error) {
	return x.session.StartEncoder(ctx, towerOf(x.Spec, role).Encoder, x.options(role, towerOf(x.Spec, role).With))
}

func (x *Starter) startLoss(ctx context.Context, role string) (clip.Loss, *process.Process, error) {
	l := lossOf(x.Spec, role)
	return x.session.StartLoss(ctx, l.Plugin, x.options(role, l.With))
}

// EvaluationData starts the data of evaluation i and configures it for pictures of size × size pixels.
func (x *Starter) EvaluationData(ctx context.Context, i, size int) (*Dataset, error) {
	d := datasets(x.Spec, x.threads)[len(x.Spec.Data.Train)+i]
	return &d, x.open(ctx, &d, size)
}

func (x *Starter) open(ctx context.Context, d *Dataset, size int) error {
	if err := d.start(ctx, x); err != nil {
		return err
	}
	if x.yields {
		d.Process.Yield()
	}
	return d.configure(ctx, x, size)
}

// CountTokens asks the text tower how many tokens each text has and how many fit its context, without
// configuring it. Where its vocabulary is learned, it learns it from the captions of data. ok is false when the
// encoder does not count tokens.
func (x *Starter) CountTokens(ctx context.Context, data clip.Dataset, texts []string) (tokens []int, limit int, ok bool, err error) {
	e, p, err := x.startTower(ctx, RoleText)
	if err != nil {
		return nil, 0, false, err
	}
	counter, ok := e.(clip.TokenCounter)
	if !ok {
		return nil, 0, false, nil
	}
	c := encoderConfig(x.Spec, RoleText, x.threads)
	if hasCapability(p.Descriptor, clip.CapVocabulary) {
		if c.Captions, err = data.Captions(ctx, 0); err != nil {
			return nil, 0, false, err
		}
	}
	tokens, limit, err = counter.CountTokens(ctx, &c, texts)
	return tokens, limit, err == nil, err
}
