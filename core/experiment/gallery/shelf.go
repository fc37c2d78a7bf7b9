package gallery

import (
	"cmp"
	"context"
	"image"
	"strconv"
	"sync"
	"time"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/fault"
)

// opened is the data of an evaluation with its plugin running.
type opened struct {
	starter *assemble.Starter
	data    *assemble.Dataset
}

// open starts the plugin of an evaluation's data. With yields it computes on one thread and gives way to all that trains.
func open(ctx context.Context, l lab.Lab, q Request, yields bool) (*opened, error) {
	read := l.OwnSpec
	if q.Trusted {
		read = l.RecordedSpec
	}
	s, err := read(q.Run)
	if err != nil {
		return nil, err
	}
	at := -1
	for i, e := range s.Eval {
		if e.Name == q.Evaluation {
			at = i
		}
	}
	if at < 0 {
		return nil, fault.New(fault.NotFound, "run %s has no evaluation %q", q.Run.ID, q.Evaluation)
	}
	l.NoteUnguarded(s)
	starter, err := assemble.NewStarter(l.Catalog, s)
	if err != nil {
		return nil, err
	}
	if yields {
		starter.Yield()
	}
	data, err := starter.EvaluationData(ctx, at, q.Side)
	if err != nil {
		starter.Close()
		return nil, err
	}
	return &opened{starter, data}, nil
}

// album takes the pictures of a request.
func (o *opened) album(ctx context.Context, q Request) (*Album, error) {
	a := &Album{Plugin: o.data.Process.Name(), Pictures: make([]image.Image, len(q.Indices)), Captions: make([][]string, len(q.Indices))}
	found := false
	for _, t := range o.data.Info.Targets {
		if t.Name == q.Target {
			a.Classes, found = t.Classes, true
		}
	}
	if !found {
		return nil, fault.New(fault.NotFound, "%s has no target %q any more", a.Plugin, q.Target)
	}
	return a, a.take(ctx, o.data.Dataset, o.data.Info.Len, q)
}

// Shelf keeps the data of evaluations open between requests, for those who look at pictures again and again. Its plugins give way to all
// that trains, and end when nobody has asked for a while. It may be used from several goroutines.
type Shelf struct {
	lab    lab.Lab
	limits ShelfLimits

	mu     sync.Mutex
	books  map[string]*book
	closed bool
}

// ShelfLimits bounds what a shelf keeps.
type ShelfLimits struct {
	Most int           // datasets that are open at a time
	Idle time.Duration // after which one that nobody asks is closed
	// Retry is after how long one that could not be opened is tried again. Until then the error stands.
	Retry time.Duration
}

// NewShelf makes an empty shelf. The caller closes it, which ends its plugins.
func NewShelf(l lab.Lab, limits ShelfLimits) *Shelf {
	return &Shelf{lab: l, limits: limits, books: map[string]*book{}}
}

// book is a place on the shelf.
type book struct {
	key   string
	ready chan struct{} // closed once opened or err is set
	*opened
	err  error
	turn chan struct{} // holds a token while its plugin is asked

	users int         // guarded by Shelf.mu, as are those below
	used  time.Time   // when the last user left
	end   *time.Timer // closes it; nil while it is in use
	gone  bool        // it is off the shelf: the last user closes it
}

// Open does as the function Open does; the plugin stays for the next request. When ctx ends before the data is open, it goes on being
// opened. fault.Exhausted while as much is in use as the shelf holds.
func (s *Shelf) Open(ctx context.Context, q Request) (*Album, error) {
	b, err := s.take(ctx, q)
	if err != nil {
		return nil, err
	}
	broken := false
	defer func() { s.leave(b, broken) }()
	select {
	case <-b.ready:
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "the data of evaluation %s is still being opened", q.Evaluation).WithHint("look again in a while")
	}
	if b.err != nil {
		return nil, b.err
	}
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "the data of evaluation %s is busy", q.Evaluation).WithHint("look again in a while")
	}
	defer func() { <-b.turn }()
	a, err := b.album(ctx, q)
	broken = err != nil && b.data.Process.Err() != nil
	return a, err
}

// take returns the book of a request, and begins to open it where it is not there.
func (s *Shelf) take(ctx context.Context, q Request) (*book, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fault.New(fault.Canceled, "the datasets are being closed")
	}
	key := bookKey(q)
	b := s.books[key]
	if b == nil {
		if err := s.makeRoom(); err != nil {
			return nil, err
		}
		b = &book{key: key, ready: make(chan struct{}), turn: make(chan struct{}, 1)}
		s.books[key] = b
		b.users++ // the opening itself, so that it is not closed meanwhile
		go func() {
			b.opened, b.err = open(context.WithoutCancel(ctx), s.lab, q, true)
			close(b.ready)
			s.leave(b, false)
		}()
	}
	b.users++
	if b.end != nil {
		b.end.Stop()
		b.end = nil
	}
	return b, nil
}

func bookKey(q Request) string {
	trusted := "own"
	if q.Trusted {
		trusted = "recorded"
	}
	return q.Run.ID + "\x00" + q.Evaluation + "\x00" + trusted + "\x00" + strconv.Itoa(q.Side)
}

// makeRoom closes what was used longest ago, when the shelf is full.
func (s *Shelf) makeRoom() error {
	if len(s.books) < s.limits.Most {
		return nil
	}
	var oldest *book
	for _, b := range s.books {
		if b.users == 0 && (oldest == nil || b.used.Before(oldest.used)) {
			oldest = b
		}
	}
	if oldest == nil {
		return fault.New(fault.Exhausted, "%d datasets are open for pictures, and all are in use", s.limits.Most).WithHint("look again in a while")
	}
	s.discard(oldest)
	return nil
}

// discard takes a book off the shelf and closes it once nobody uses it.
func (s *Shelf) discard(b *book) {
	if s.books[b.key] == b {
		delete(s.books, b.key)
	}
	b.gone = true
	if b.end != nil {
		b.end.Stop()
	}
	if b.users == 0 {
		b.close()
	}
}

// leave ends one use of a book. A broken one leaves the shelf, so that the next request opens the data again.
func (s *Shelf) leave(b *book, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.users--
	b.used = time.Now()
	switch {
	case broken && !b.gone:
		s.discard(b)
	case b.users > 0:
	case b.gone:
		b.close()
	default:
		wait := s.limits.Idle
		if b.err != nil {
			wait = s.limits.Retry
		}
		b.end = time.AfterFunc(wait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if b.users == 0 && !b.gone {
				s.discard(b)
			}
		})
	}
}

func (b *book) close() {
	if b.opened != nil {
		go b.starter.Close() // ending a plugin takes a moment, and others wait for the shelf
	}
}

// Close ends all plugins.
func (s *Shelf) Close() error {
	s.mu.Lock()
	s.closed = true
	var all []*book
	for _, b := range s.books {
		b.gone = true
		all = append(all, b)
	}
	clear(s.books)
	s.mu.Unlock()
	var err error
	for _, b := range all {
		<-b.ready
		if b.opened != nil {
			err = cmp.Or(err, b.starter.Close())
		}
	}
	return err
}

// Len returns how many datasets are open or being opened.
func (s *Shelf) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.books)
}
