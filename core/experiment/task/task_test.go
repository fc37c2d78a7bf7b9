package task

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/ledger"
	"tandem/core/experiment/run"
	"tandem/core/experiment/schedule"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/store"
)

// Sweep is the text of a sweep of two losses' rates under two seeds.
const Sweep = labtest.Text + `ablate:
  design: one-at-a-time
  metric: train/loss
  baseline: {rate: 0.01}
  seeds: [0, 1]
  factors: {rate: {key: train.lr, choices: [0.01, 0.02]}}
`

func freeze(t *testing.T, l lab.Lab, text string, set ...string) *bundle.Bundle {
	t.Helper()
	s, err := schedule.Load(l, labtest.File(t, l, text), set)
	labtest.Must(t, err)
	self, err := os.Executable()
	labtest.Must(t, err)
	b, err := bundle.Freeze(l, s, bundle.Options{Root: filepath.Join(filepath.Dir(l.DB), "cluster"), Runner: self})
	labtest.Must(t, err)
	return b
}

// tape is a Watcher that keeps what it saw, and calls step after every step.
type tape struct {
	mu    sync.Mutex
	ends  []ledger.Outcome
	notes []string
	began int
	step  func(trial bundle.Trial, step int)
	doing func(what string)
}

func (w *tape) Trial(t bundle.Trial, attempt int, resumed bool) run.Watcher {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began++
	return stepper{run.Quiet{}, w, t}
}
func (w *tape) Ended(_ bundle.Trial, o ledger.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, o)
}
func (w *tape) Note(message string) { w.notes = append(w.notes, message) }

type stepper struct {
	run.Quiet
	w     *tape
	trial bundle.Trial
}

func (s stepper) Step(r train.StepReport) {
	if s.w.step != nil {
		s.w.step(s.trial, r.Step)
	}
}

func (s stepper) Doing(what string) {
	if s.w.doing != nil {
		s.w.doing(what)
	}
}

func never() chan struct{} { return make(chan struct{}) }

func TestTwoTasksMakeEveryTrialOnce(t *testing.T) {
	l := labtest.New(t)
	b := freeze(t, l, Sweep)
	if len(b.Trials()) != 4 {
		t.Fatalf("%d trials", len(b.Trials()))
	}
	var wg sync.WaitGroup
	tapes := []*tape{{}, {}}
	for i, w := range tapes {
		wg.Go(func() {
			r, err := Run(context.Background(), b, Options{Index: i, Tasks: 2, Owner: ledger.Owner{Host: "h", PID: i}}, never(), w)
			if err != nil || r.Failed > 0 || r.Interrupted {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	wg.Wait()
	if n := tapes[0].began + tapes[1].began; n != 4 {
		t.Errorf("%d attempts at four trials", n)
	}
	for _, trial := range b.Trials() {
		s, err := ledger.Ledger{Dir: b.TrialsDir()}.Read(trial.ID)
		labtest.Must(t, err)
		if len(s.Attempts) != 1 || s.Over() == nil || s.Over().Status != ledger.Done || s.Over().Step != 8 || s.Over().Value == nil {
			t.Errorf("trial %s: %+v", trial.ID, s)
		}
	}
	again := &tape{}
	if r, err := Run(context.Background(), b, Options{}, never(), again); err != nil || r.Made != 0 {
		t.Errorf("a task with nothing to do: %+v, %v", r, err)
	}
}

// What is given back goes on elsewhere from its checkpoint, with the numbers of a run that was not interrupted.
func TestATrialThatIsGivenBackGoesOnFromItsCheckpoint(t *testing.T) {
	l := labtest.New(t)
	b := freeze(t, l, labtest.Text)
	stop := make(chan struct{})
	w := &tape{step: func(_ bundle.Trial, step int) {
		if step == 3 {
			terminateChildren(t)
			close(stop)
		}
	}}
	r, err := Run(context.Background(), b, Options{Why: func() string { return ledger.TimeOut }}, stop, w)
	if err != nil || !r.Interrupted || len(w.ends) != 1 || w.ends[0].Status != ledger.Interrupted || w.ends[0].Why != ledger.TimeOut || w.ends[0].Step != 3 {
		t.Fatalf("%+v, %v, %+v", r, err, w.ends)
	}
	steps := 0
	w = &tape{step: func(bundle.Trial, int) { steps++ }}
	r, err = Run(context.Background(), b, Options{}, never(), w)
	if err != nil || r.Made != 1 || w.ends[0].Status != ledger.Done || steps != 5 {
		t.Fatalf("%+v, %v, %+v, %d steps", r, err, w.ends, steps)
	}
	id := b.Trials()[0].ID
	state, err := ledger.Ledger{Dir: b.TrialsDir()}.Read(id)
	labtest.Must(t, err)
	read, err := store.OpenReader(DatabaseOf(ledger.Ledger{Dir: b.TrialsDir()}, state, 1))
	labtest.Must(t, err)
	defer read.Close()
	got, err := read.Final(context.Background(), w.ends[0].Run)
	labtest.Must(t, err)

	plain, err := run.Start(context.Background(), l, labtest.Spec(t, l), never(), run.Quiet{})
	labtest.Must(t, err)
	db, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer db.Close()
	want, err := db.Final(context.Background(), plain.ID)
	labtest.Must(t, err)
	for name, v := range want {
		if strings.HasPrefix(name, "train/loss") || strings.HasPrefix(name, "eval/") {
			if got[name].Last != v.Last || got[name].N != v.N {
				t.Errorf("%s: %v of %d points, want %v of %d", name, got[name].Last, got[name].N, v.Last, v.N)
			}
		}
	}
}

// terminateChildren sends SIGTERM to the plugins, as a batch system does to all processes of a job.
func terminateChildren(t *testing.T) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/task/*/children")
	must(t, err)
	told := 0
	for _, path := range all {
		text, _ := os.ReadFile(path)
		for _, word := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(word)
			must(t, err)
			must(t, syscall.Kill(pid, syscall.SIGTERM))
			told++
		}
	}
	if told < 4 && len(all) > 0 {
		t.Errorf("%d plugins", told)
	}
}

func TestADeadOwnersTrialGoesOnFromItsSnapshot(t *testing.T) {
	l := labtest.New(t)
	b := freeze(t, l, labtest.Text)
	books := ledger.Ledger{Dir: b.TrialsDir()}
	ctx, kill := context.WithCancel(context.Background())
	trial := b.Trials()[0]
	w := &tape{step: func(_ bundle.Trial, step int) {
		if step == 5 { // as a killed process: no checkpoint, and no end in the ledger
			must(t, os.Mkdir(filepath.Join(books.TrialDir(trial.ID), "0001.end"), 0o755))
			kill()
		}
	}}
	_, _ = Run(ctx, b, Options{}, never(), w)
	must(t, os.Remove(filepath.Join(books.TrialDir(trial.ID), "0001.end")))
	long := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(filepath.Join(books.TrialDir(trial.ID), "0001.lease"), long, long))
	var steps []int
	w = &tape{step: func(_ bundle.Trial, step int) { steps = append(steps, step) }}
	r, err := Run(context.Background(), b, Options{}, never(), w)
	if err != nil || r.Made != 1 || !slices.Equal(steps, []int{5, 6, 7, 8}) {
		t.Fatalf("%+v, %v, steps %v, %v", r, err, steps, w.notes)
	}
}

// What is missing on a node fails the attempt; it does not cost what was recorded before.
func TestATrialWhoseDataIsMissingKeepsWhatItHas(t *testing.T) {
	l := labtest.New(t)
	data := filepath.Join(filepath.Dir(l.DB), "data")
	must(t, os.WriteFile(data, nil, 0o644))
	b := freeze(t, l, strings.Replace(labtest.Text, "{dataset: dots}", "{dataset: dots, with: {file: "+data+"}}", 1))
	stop := make(chan struct{})
	w := &tape{step: func(_ bundle.Trial, step int) {
		if step == 3 {
			close(stop)
		}
	}}
	_, err := Run(context.Background(), b, Options{}, stop, w)
	must(t, err)
	must(t, os.Remove(data))
	must(t, os.Mkdir(data, 0o755)) // something is there, and cannot be read
	w = &tape{}
	r, err := Run(context.Background(), b, Options{Owner: ledger.Owner{Round: 1}}, never(), w)
	if err != nil || r.Failed != 1 || len(w.ends) != 1 || w.ends[0].Kind != fault.NotFound || w.ends[0].Step != 3 || len(w.notes) > 0 {
		t.Fatalf("without data: %+v, %v, %+v, %v", r, err, w.ends, w.notes)
	}
	must(t, os.Remove(data))
	must(t, os.WriteFile(data, nil, 0o644))
	var steps []int
	w = &tape{step: func(_ bundle.Trial, step int) { steps = append(steps, step) }}
	r, err = Run(context.Background(), b, Options{Owner: ledger.Owner{Round: 2}}, never(), w)
	if err != nil || r.Failed != 0 || !slices.Equal(steps, []int{4, 5, 6, 7, 8}) {
		t.Fatalf("with it: %+v, %v, steps %v, %v", r, err, steps, w.notes)
	}
}

func TestATrialWhoseSnapshotIsDamagedStartsOver(t *testing.T) {
	l := labtest.New(t)
	b := freeze(t, l, labtest.Text)
	stop := make(chan struct{})
	_, err := Run(context.Background(), b, Options{}, stop, &tape{step: func(_ bundle.Trial, step int) {
		if step == 3 {
			close(stop)
		}
	}})
	must(t, err)
	books := ledger.Ledger{Dir: b.TrialsDir()}
	must(t, os.WriteFile(books.FilePath(b.Trials()[0].ID, 1, databaseEnding), []byte("no database"), 0o644))
	steps := 0
	w := &tape{step: func(bundle.Trial, int) { steps++ }}
	r, err := Run(context.Background(), b, Options{}, never(), w)
	if err != nil || r.Made != 1 || steps != 8 || len(w.notes) != 1 || !strings.Contains(w.notes[0], "starts over") {
		t.Fatalf("%+v, %v, %d steps, %v", r, err, steps, w.notes)
	}
	if left, err := filepath.Glob(filepath.Join(books.FilePath(b.Trials()[0].ID, 2, runsEnding), "*", lab.CheckpointsDir)); err != nil || len(left) != 1 {
		t.Errorf("checkpoints of the run that was given up are left: %v, %v", left, err)
	}
}

// Attempts of an older runner have one folder of runs. It is found where it is, and what it has is removed when a newer attempt has saved.
func TestATrialGoesOnFromTheSharedFolderOfItsRuns(t *testing.T) {
	l := labtest.New(t)
	b := freeze(t, l, labtest.Text)
	stop := make(chan struct{})
	_, err := Run(context.Background(), b, Options{}, stop, &tape{step: func(_ bundle.Trial, step int) {
		if step == 3 {
			close(stop)
		}
	}})
	must(t, err)
	books, trial := ledger.Ledger{Dir: b.TrialsDir()}, b.Trials()[0].ID
	shared := filepath.Join(books.TrialDir(trial), sharedRuns)
	must(t, os.Rename(books.FilePath(trial, 1, runsEnding), shared)) // its records name places where nothing is, as after a move
	if got := runsBeside(books.FilePath(trial, 1, databaseEnding)); got != shared {
		t.Errorf("the runs of the attempt are in %s, want %s", got, shared)
	}
	var steps []int
	w := &tape{step: func(_ bundle.Trial, step int) { steps = append(steps, step) }}
	r, err := Run(context.Background(), b, Options{}, never(), w)
	if err != nil || r.Made != 1 || !slices.Equal(steps, []int{4, 5, 6, 7, 8}) {
		t.Fatalf("%+v, %v, steps %v, %v", r, err, steps, w.notes)
	}
	if left, err := filepath.Glob(filepath.Join(shared, "*", lab.CheckpointsDir)); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A task that is killed between the end of an evaluation beside training and the next checkpoint loses no figures.
func TestAKilledTaskKeepsTheEvaluationsBesideTraining(t *testing.T) {
	l := labtest.New(t)
	b := freeze(t, l, labtest.Text, "train.eval_device=auto")
	books, trial := ledger.Ledger{Dir: b.TrialsDir()}, b.Trials()[0].ID
	image, waited := filepath.Join(t.TempDir(), "image"), false
	w := &tape{doing: func(what string) {
		if waited = waited || what == "waiting for the last evaluations"; waited && what == "" { // what a kill would leave here
			must(t, os.RemoveAll(image))
			must(t, os.CopyFS(image, os.DirFS(books.TrialDir(trial))))
		}
	}}
	_, err := Run(context.Background(), b, Options{}, never(), w)
	must(t, err)
	must(t, os.RemoveAll(books.TrialDir(trial)))
	must(t, os.Rename(image, books.TrialDir(trial)))
	long := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(books.FilePath(trial, 1, ".lease"), long, long))
	w = &tape{}
	r, err := Run(context.Background(), b, Options{}, never(), w)
	if err != nil || r.Made != 1 || len(w.ends) != 1 || w.ends[0].Status != ledger.Done {
		t.Fatalf("%+v, %v, %+v, %v", r, err, w.ends, w.notes)
	}
	state, err := books.Read(trial)
	must(t, err)
	read, err := store.OpenReader(DatabaseOf(books, state, 1))
	must(t, err)
	defer read.Close()
	made, err := read.Get(context.Background(), w.ends[0].Run)
	must(t, err)
	var steps []int
	for _, p := range made.Predictions {
		steps = append(steps, p.Step)
	}
	if slices.Sort(steps); !slices.Equal(steps, []int{4, 8}) {
		t.Errorf("evaluations of steps %v are recorded", steps)
	}
}

func must(t *testing.T, err error) { t.Helper(); labtest.Must(t, err) }

func TestFailuresAreTriedAgainByTheirKind(t *testing.T) {
	retries := spec.DefaultRetries()
	at := time.Now()
	end := func(o ledger.Outcome) ledger.Attempt {
		o.At = at
		return ledger.Attempt{Owner: ledger.Owner{Round: 1}, End: &o}
	}
	failed := func(kind fault.Kind) ledger.Attempt { return end(ledger.Outcome{Status: ledger.Failed, Kind: kind}) }
	lost := end(ledger.Outcome{Status: ledger.Lost})
	short := func(step int) ledger.Attempt {
		return end(ledger.Outcome{Status: ledger.Interrupted, Why: ledger.TimeOut, Step: step})
	}
	for name, c := range map[string]struct {
		attempts []ledger.Attempt
		round    int
		free     bool
		status   string
	}{
		"nobody began":                    {nil, 1, true, Waiting},
		"somebody makes it":               {[]ledger.Attempt{{}}, 1, true, Running},
		"invalid":                         {[]ledger.Attempt{failed(fault.Invalid)}, 1, false, "failed"},
		"invalid, submitted again":        {[]ledger.Attempt{failed(fault.Invalid)}, 2, true, "failed"},
		"a plugin died":                   {[]ledger.Attempt{failed(fault.PluginDied)}, 1, true, "failed"},
		"a plugin died twice":             {[]ledger.Attempt{failed(fault.PluginDied), failed(fault.PluginDied)}, 1, false, "failed"},
		"of two kinds":                    {[]ledger.Attempt{failed(fault.PluginDied), failed(fault.Exhausted)}, 1, true, "failed"},
		"a node failed":                   {[]ledger.Attempt{lost, lost, lost, lost, lost}, 1, true, "lost"},
		"a node failed once more":         {[]ledger.Attempt{lost, lost, lost, lost, lost, lost}, 1, false, "failed"},
		"time-outs that come further":     {[]ledger.Attempt{short(1), short(2), short(3), short(4)}, 1, true, "interrupted"},
		"time-outs that get nowhere":      {[]ledger.Attempt{short(2), short(2), short(2), short(2)}, 1, false, "failed"},
		"time-outs before any checkpoint": {[]ledger.Attempt{short(0), short(0), short(0)}, 1, false, "failed"},
		"done after failures":             {[]ledger.Attempt{lost, failed(fault.Invalid), end(ledger.Outcome{Status: ledger.Done})}, 1, false, "done"},
		"a plugin that breaks rules":      {[]ledger.Attempt{end(ledger.Outcome{Status: ledger.Failed, Kind: fault.PluginDied, Final: true})}, 1, false, "failed"},
	} {
		got := Judge(ledger.State{Attempts: c.attempts}, retries, c.round)
		if got.Free != c.free || got.Status != c.status || !got.Free && got.Status == "failed" && got.Reason == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	wait := Judge(ledger.State{Attempts: []ledger.Attempt{failed(fault.PluginDied)}}, retries, 1).NotBefore
	if wait.Sub(at) != retries.Backoff {
		t.Errorf("tried again after %v", wait.Sub(at))
	}
}

func TestATaskBeginsNoTrialThatItsTimeWouldNotDoFor(t *testing.T) {
	l := labtest.New(t)
	b := freeze(t, l, Sweep)
	w := &tape{}
	r, err := Run(context.Background(), b, Options{Deadline: time.Now().Add(time.Millisecond)}, never(), w)
	if err != nil || r.Made != 1 || !r.Left {
		t.Errorf("%+v, %v", r, err)
	}
}
