package web

import (
	"context"
	"sync"
	"time"

	"tandem/core/fault"
	"tandem/core/results/store"
)

// How often what lies at the database's path is looked at, the runs in it are asked whether their processes live, and a copy of a database
// of an older schema is made anew when that has changed.
const (
	statEvery = time.Second
	deadEvery = 30 * time.Second
	copyEvery = time.Minute
)

// restAfter is how long connections that nobody uses stay open. A program that closes the database takes its log away when it is the last:
// whoever copies or moves the file then has all of it, and the server should not be what keeps the log there.
const restAfter = time.Second

// database is the file that a site shows. It may not be there yet, and be replaced by another one; a reader that was given stays whole.
// Its methods may be called concurrently.
type database struct {
	path string // "": the reader is given, and stays

	mu     sync.Mutex
	reader *store.Reader
	err    error      // why there is no reader
	looked time.Time  // when path was looked at
	asked  time.Time  // when the processes of runs were
	was    store.Mark // what lay at path then
	opened time.Time
	last   store.Mark             // what lay there when Version was asked
	count  int64                  // how many changes were seen
	left   map[*store.Reader]bool // those that requests may still use
}

// Reader returns what reads the database, or why nothing does: fault.NotFound while there is none.
func (d *database) Reader() (*store.Reader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	return d.reader, d.err
}

// Of returns a function that gives what make makes of the site's reader: the same as long as the site reads by it.
func Of[T any](s *Site, make func(*store.Reader) T) func() T {
	var mu sync.Mutex
	var of *store.Reader
	var made T
	return func() T {
		now := s.Reader()
		mu.Lock()
		defer mu.Unlock()
		if now != of {
			of, made = now, make(now)
		}
		return made
	}
}

// look opens what lies at path, unless that is open.
func (d *database) look() {
	if d.path == "" || time.Since(d.looked) < statEvery {
		return
	}
	d.looked = time.Now()
	now := store.MarkOf(d.path)
	if d.reader != nil && now.IsFile(d.was) && (!d.reader.Copied() || now == d.was || time.Since(d.opened) < copyEvery) {
		return
	}
	d.leave()
	d.was, d.opened = now, time.Now()
	if d.reader, d.err = store.OpenReader(d.path); d.err == nil {
		d.reader.Rest(restAfter)
	}
}

// leave lets go of the reader when the requests that may use it are over.
func (d *database) leave() {
	old := d.reader
	if old == nil {
		return
	}
	d.reader = nil
	if d.left == nil {
		d.left = map[*store.Reader]bool{}
	}
	d.left[old] = true
	time.AfterFunc(longest+time.Second, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.left[old] {
			delete(d.left, old)
			old.Close()
		}
	})
}

// Version returns a number that is another one after every change of the database. It looks at files alone: nothing is locked, and no
// connection stays open for it.
func (d *database) Version() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	path := d.path
	if path == "" {
		path = d.reader.Path()
	}
	if now := store.MarkOf(path); now != d.last {
		d.last = now
		d.count++
		if d.reader == nil || !now.IsFile(d.was) {
			d.looked = time.Time{} // what is shown of this version is of this file
		}
	}
	return d.count
}

// MarkDead records as interrupted the runs whose process on this machine is gone. It waits for nobody: while another process writes, or
// without the right to write, it leaves the database as it is.
func (d *database) MarkDead(ctx context.Context) {
	d.mu.Lock()
	if r := d.reader; d.path == "" || r == nil || r.Copied() || time.Since(d.asked) < deadEvery {
		d.mu.Unlock()
		return
	}
	r := d.reader
	d.asked = time.Now()
	d.mu.Unlock()
	if dead, err := r.Dead(ctx); err == nil && len(dead) > 0 {
		_ = store.MarkDeadNow(ctx, d.path)
	}
}

// Notice says what people should know of the database that they look at; "" mostly.
func (d *database) Notice() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reader == nil || !d.reader.Copied() {
		return ""
	}
	return "This database is of an older tandem, or has views that are not tandem's. The pages show a copy of " + d.opened.UTC().Format("15:04:05 UTC") +
		", which is made anew once a minute when the file has changed. Of an older one, runner run and runner gc bring the file up to date."
}

// Close closes at once what look opened.
func (d *database) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.path == "" {
		return
	}
	d.leave()
	for r := range d.left {
		r.Close()
	}
	d.left, d.looked, d.err = nil, time.Now().Add(time.Hour), fault.New(fault.Unavailable, "the server ends")
}
