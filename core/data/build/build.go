// Package build makes sets of pairs from what lies around: web archives, folders of pages, lists of pictures. It reads the
// sources, chooses a caption for each picture, gets the pictures, judges them and writes shards.
//
// The stages stand one behind the other, and each is a function of what is in the ledger and of the order of the sources.
// A build that ends at any point, by SIGKILL too, goes on where it was and writes the same shards, byte for byte.
package build

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"

	"tandem/core/data/build/ledger"
	"tandem/core/data/object"
	"tandem/core/fault"
	"tandem/core/media/vision"
)

// Watcher is told how a build goes on. Its methods are called often, from one goroutine at a time.
type Watcher interface {
	// Progress says what is done of what; total is 0 where it is unknown.
	Progress(doing string, done, total int64)
	// Say says what lasts.
	Say(text string)
}

// Score returns the cosine of each picture's embedding with its caption's.
type Score func(ctx context.Context, pictures []vision.Picture, captions []string) ([]float32, error)

// Options configures Build.
type Options struct {
	Watcher Watcher
	Score   Score // for the filter similarity; nil when there is none
	// Threads bounds the goroutines that read and decode; 0 is as many as there are processors.
	Threads int
	// Rejudge takes other filters, captions and shards than those the folder was begun with, on what is collected.
	Rejudge bool
}

// The stages, by what is done.
const (
	stageRead      = "read"
	stageCaptioned = "captioned"
	stagePictures  = "pictures"
	stageJudged    = "judged"
	stageWritten   = "written"
)

var stages = []string{"", stageRead, stageCaptioned, stagePictures, stageJudged, stageWritten}

// builder is one build.
type builder struct {
	config  *Config
	watch   Watcher
	score   Score
	threads int
	ledger  *ledger.Ledger
	blobs   *blobs
	sources []source
	failed  atomic.Pointer[error]
}

// Work is the folder, within that of the set, of what a build needs and a set does not.
const work = ".build"

// Build builds a set, or goes on with one, or finds that it is built. A canceled context yields fault.Canceled; the next
// Build goes on.
func Build(ctx context.Context, c *Config, o Options) (*Summary, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	b := &builder{config: c, watch: o.Watcher, score: o.Score, threads: o.Threads}
	if b.threads < 1 {
		b.threads = runtime.GOMAXPROCS(0)
	}
	unlock, err := b.enter()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if b.ledger, err = ledger.Open(filepath.Join(c.Out, work, "ledger.db")); err != nil {
		return nil, err
	}
	defer b.ledger.Close()
	store, err := newStore(ctx)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if b.sources, err = openSources(ctx, c, store, b.blobs); err != nil {
		return nil, err
	}
	defer closeSources(b.sources)
	if err := b.compare(ctx, o.Rejudge); err != nil {
		return nil, err
	}
	fresh, err := b.run(ctx)
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, fs.ErrNotExist) {
			err = fault.New(fault.Canceled, "interrupted; the same command goes on where this one ended")
		}
		return nil, err
	}
	s, err := b.summary()
	if err == nil {
		s.UpToDate = !fresh
	}
	return s, err
}

// newStore returns what archives and lists are opened with.
func newStore(ctx context.Context) (*object.Store, error) { return object.New(ctx, object.Options{}) }

// enter makes the folder and keeps other builds out of it.
func (b *builder) enter() (leave func(), err error) {
	dir := filepath.Join(b.config.Out, work)
	if entries, err := os.ReadDir(b.config.Out); err == nil && len(entries) > 0 {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New(fault.Conflict, "%s has files that no build made", b.config.Out).WithPath("out").WithHint("name a folder that is new or empty")
		}
	}
	b.blobs = &blobs{filepath.Join(dir, "pictures")}
	if err := os.MkdirAll(b.blobs.dir, 0o755); err != nil {
		return nil, pathError(b.config.Out, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, pathError(dir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		lock.Close()
		return nil, fault.New(fault.Conflict, "another build works in %s", b.config.Out)
	}
	return func() { lock.Close() }, nil
}

// compare refuses to go on with another configuration, or with sources that have changed.
func (b *builder) compare(ctx context.Context, rejudge bool) error {
	collect, judge := b.config.parts()
	elsewhere := "name another folder with out or -o"
	known, err := b.ledger.Sources()
	if err != nil {
		return err
	}
	if len(known) > 0 && len(known) != len(b.sources) {
		return fault.New(fault.Conflict, "%s was begun with %d sources, there are %d", b.config.Out, len(known), len(b.sources)).WithHint("%s", elsewhere)
	}
	for i, s := range b.sources {
		if i < len(known) && (known[i].Stamp != s.stamp() || known[i].Name != s.name()) {
			return fault.New(fault.Conflict, "%s has changed since it was read into %s", s.name(), b.config.Out).WithHint("%s", elsewhere)
		}
	}
	for key, is := range map[string]map[string]string{"collect": collect, "judge": judge} {
		text, err := b.ledger.Meta(key)
		if err != nil {
			return err
		}
		was := map[string]string{}
		if text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(text), &was); err != nil {
			return fault.New(fault.Corrupt, "%w", err).WithFile(filepath.Join(b.config.Out, work), 0, 0)
		}
		switch d := difference(was, is); {
		case d == "":
		case key == "judge" && rejudge:
			b.watch.Say("judging anew what is collected: " + d)
			if err := b.again(ctx); err != nil {
				return err
			}
		case key == "judge":
			return fault.New(fault.Conflict, "%s was begun with another configuration: %s", b.config.Out, d).
				WithHint("--rejudge judges what is collected anew and reads and fetches nothing again; or %s", elsewhere)
		default:
			return fault.New(fault.Conflict, "%s was begun with another configuration: %s", b.config.Out, d).WithHint("%s", elsewhere)
		}
	}
	return b.ledger.Update(ctx, func(tx *ledger.Tx) error {
		for key, v := range map[string]map[string]string{"collect": collect, "judge": judge} {
			text, err := json.Marshal(v)
			if err != nil {
				return err
			}
			tx.SetMeta(key, string(text))
		}
		for i, s := range b.sources {
			if len(known) == 0 {
				tx.SetSource(ledger.Source{ID: i, Name: s.name(), Stamp: s.stamp()})
			}
		}
		return nil
	})
}

// again takes away what was written and goes back to where all sources are read.
func (b *builder) again(ctx context.Context) error {
	stage, err := b.ledger.Meta("stage")
	if err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(b.config.Out, "shard-*.tar"))
	if err != nil {
		return err
	}
	for _, name := range append(names, filepath.Join(b.config.Out, "manifest.json"), filepath.Join(b.config.Out, "report.html")) {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return pathError(name, err)
		}
	}
	return b.ledger.Update(ctx, func(tx *ledger.Tx) error {
		if stage != "" {
			tx.Rejudge()
			tx.SetMeta("stage", stageRead)
		}
		return nil
	})
}

// run does the stages that are left and reports whether there was anything to do.
func (b *builder) run(ctx context.Context) (fresh bool, err error) {
	done, err := b.ledger.Meta("stage")
	if err != nil {
		return false, err
	}
	if done == stageWritten && b.whole() {
		return false, nil
	}
	if done == stageWritten {
		done = stageJudged
	}
	steps := map[string]func(context.Context) error{"": b.read, stageRead: b.caption, stageCaptioned: b.pictures, stagePictures: b.judge, stageJudged: b.finish}
	for at := 0; at < len(stages)-1; at++ {
		if stages[at] != done {
			continue
		}
		if err := ctx.Err(); err != nil {
			return true, fault.New(fault.Canceled, "%w", err)
		}
		if err := steps[done](ctx); err != nil {
			return true, err
		}
		done = stages[at+1]
	}
	return true, nil
}

// reach notes that a stage is done.
func (b *builder) reach(ctx context.Context, stage string) error {
	return b.ledger.Update(ctx, func(tx *ledger.Tx) error { tx.SetMeta("stage", stage); return nil })
}

// whole reports whether everything that was written is there.
func (b *builder) whole() bool {
	shards, err := b.ledger.Shards()
	if err != nil {
		return false
	}
	for _, s := range shards {
		if info, err := os.Stat(filepath.Join(b.config.Out, s.Name)); err != nil || info.Size() != s.Bytes {
			return false
		}
	}
	for _, name := range []string{"manifest.json", "report.html"} {
		if _, err := os.Stat(filepath.Join(b.config.Out, name)); err != nil {
			return false
		}
	}
	return true
}

// finish writes the shards, the manifest and the report.
func (b *builder) finish(ctx context.Context) error {
	if err := b.write(ctx); err != nil {
		return err
	}
	if err := b.manifest(); err != nil {
		return err
	}
	if err := b.report(ctx); err != nil {
		return err
	}
	return b.reach(ctx, stageWritten)
}

func (b *builder) total() int {
	n, err := b.ledger.CountCandidates()
	if err != nil {
		return 0
	}
	return n
}

func (b *builder) keptCount() (n int, err error) {
	states, _, err := b.ledger.Counts()
	for _, s := range states {
		if s.Filter == ledger.Kept || s.Filter == ledger.Written {
			n += s.Count
		}
	}
	return n, err
}

// IsBuilt reports whether a folder was made by a build.
func IsBuilt(dir string) bool {
	_, err := os.Stat(filepath.Join(strings.TrimSuffix(dir, "/"), work, "ledger.db"))
	return err == nil
}
