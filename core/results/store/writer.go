package store

import (
	"cmp"
	"context"
	"database/sql"
	"sync"
	"time"

	"tandem/core/fault"
)

const (
	// queueLimit bounds what waits for the disk, in points; other operations count by their size. A call
	// waits for room in a full queue: a working disk makes it in a few tens of milliseconds.
	queueLimit = 64 << 10
	// batchDelay limits how long the writer gathers operations before it commits them.
	batchDelay = 100 * time.Millisecond
	// batchLimit limits the points of one transaction, unless one operation has more.
	batchLimit = 8 << 10
	// retryDelay delays the next attempt at a failed batch that nobody asks for.
	retryDelay = 2 * time.Second
)

// op holds one queued operation.
type op struct {
	cost  int       // in points
	run   *runState // whose record it changes, as long as this process makes the run; nil: none's
	apply func(*batch) error
	// alone operations have a transaction of their own and may fail by themselves.
	alone bool
	// done, when not nil, receives the outcome of the transaction; such operations are not kept for a
	// second try, since their caller is told, and they do not wait for batchDelay.
	done chan error
	// sync makes the transaction durable against power loss.
	sync bool
	// after, when not nil, is called by the writing goroutine once the operation is committed. It must not wait.
	after func()
	// lost is set when the run has come to be another process's: then nothing was applied.
	lost error
}

// writer owns the one connection that writes.
type writer struct {
	path   string
	db     *sql.DB
	conn   *sql.Conn
	notify waiting

	mu      sync.Mutex
	queue   []*op
	cost    int   // of queue and of the batch being written
	waiting int   // operations with done set in the queue
	failure error // of the last attempt, until one succeeds
	closed  bool  // no more operations
	closing time.Time
	hasty   bool // another process's transaction is not waited for
	onWrite func(start time.Time, took time.Duration)
	room    chan struct{} // closed and replaced whenever cost falls
	wake    chan struct{} // capacity 1
	ended   chan struct{}

	// Owned by the writing goroutine.
	last     int64 // ms: see now
	metrics  map[string]int64
	settings map[param]int64
	stmts    map[string]*sql.Stmt
}

func startWriter(path string, db *sql.DB, conn *sql.Conn, notify waiting) *writer {
	w := &writer{
		path: path, db: db, conn: conn, notify: notify,
		room: make(chan struct{}), wake: make(chan struct{}, 1), ended: make(chan struct{}),
		metrics: map[string]int64{}, settings: map[param]int64{}, stmts: map[string]*sql.Stmt{},
	}
	go w.run()
	return w
}

// push queues o. It blocks until there is room, ctx ends or the writer fails. An earlier failure to write is
// returned even though o is queued.
func (w *writer) push(ctx context.Context, o *op) error {
	for {
		w.mu.Lock()
		if w.closed {
			w.mu.Unlock()
			return fault.New(fault.Conflict, "results database %s is closed", w.path)
		}
		if w.cost == 0 || w.cost+o.cost <= queueLimit {
			w.queue = append(w.queue, o)
			w.cost += o.cost
			if o.done != nil {
				w.waiting++
			}
			failure := w.failure
			if o.done != nil {
				failure = nil // the outcome of its own attempt counts
			}
			w.mu.Unlock()
			w.signal()
			return failure
		}
		room, failure := w.room, w.failure
		w.mu.Unlock()
		if failure != nil && o.done == nil {
			return failure
		}
		w.signal()
		select {
		case <-room:
		case <-ctx.Done():
			return fault.New(fault.Canceled, "results database %s: %w", w.path, ctx.Err())
		}
	}
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// do queues o and waits for its transaction.
func (w *writer) do(ctx context.Context, o *op) error {
	o.done = make(chan error, 1)
	if err := w.push(ctx, o); err != nil {
		return err
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return fault.New(fault.Canceled, "results database %s: %w", w.path, ctx.Err())
	}
}

// task runs fn in a transaction of its own after everything queued before, and waits for it.
func (w *writer) task(ctx context.Context, fn func(*batch) error) error {
	return w.do(ctx, &op{cost: 1, apply: fn, alone: true})
}

func (w *writer) close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		<-w.ended
		return nil
	}
	w.closed, w.closing = true, time.Now()
	w.mu.Unlock()
	w.signal()
	<-w.ended
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, stmt := range w.stmts {
		stmt.Close()
	}
	w.conn.Close()
	if err := w.db.Close(); w.failure == nil && err != nil {
		w.failure = diskFault(w.path, err)
	}
	return w.failure
}

func (w *writer) run() {
	defer close(w.ended)
	for {
		w.gather()
		for {
			ops, rest := w.next()
			if len(ops) == 0 {
				break
			}
			start := time.Now()
			err := w.write(ops)
			w.mu.Lock()
			onWrite := w.onWrite
			w.mu.Unlock()
			if onWrite != nil {
				onWrite(start, time.Since(start))
			}
			if !w.settle(ops, err) || !rest {
				break
			}
		}
		w.mu.Lock()
		end := w.closed && (len(w.queue) == 0 || w.failure != nil)
		w.mu.Unlock()
		if end {
			return
		}
	}
}

// gather waits until there is something to write that should not wait for more.
func (w *writer) gather() {
	var due <-chan time.Time
	for {
		w.mu.Lock()
		ready := w.closed || w.waiting > 0 || w.cost >= batchLimit && w.failure == nil
		queued, failed := len(w.queue) > 0, w.failure != nil
		w.mu.Unlock()
		if ready {
			return
		}
		if queued && due == nil {
			delay := batchDelay
			if failed {
				delay = retryDelay
			}
			timer := time.NewTimer(delay)
			defer timer.Stop()
			due = timer.C
		}
		select {
		case <-w.wake:
		case <-due:
			return
		}
	}
}

// next takes the operations of one transaction off the queue; rest tells that more are left.
func (w *writer) next() (ops []*op, rest bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	cost := 0
	n := 0
	for n < len(w.queue) {
		o := w.queue[n]
		if n > 0 && (o.alone || cost+o.cost > batchLimit) {
			break
		}
		cost += o.cost
		n++
		if o.alone {
			break
		}
	}
	ops = w.queue[:n:n]
	w.queue = w.queue[n:]
	return ops, len(w.queue) > 0
}

// settle tells the outcome of a transaction to those who wait. After a failure the operations that
// nobody waits for go back to the head of the queue, in order; it then returns false.
func (w *writer) settle(ops []*op, err error) bool {
	err = diskFault(w.path, err)
	w.mu.Lock()
	var back []*op
	for _, o := range ops {
		if o.done != nil {
			w.waiting--
		}
		if err != nil && o.done == nil {
			back = append(back, o)
		} else {
			w.cost -= o.cost
		}
	}
	alone := ops[0].alone
	if err == nil || !alone {
		w.failure = err
	}
	w.queue = append(back, w.queue...)
	if err != nil && !alone {
		// Whoever waits behind a batch that cannot be written waits for it in vain.
		kept := w.queue[:0]
		for _, o := range w.queue {
			if o.done == nil {
				kept = append(kept, o)
				continue
			}
			w.waiting--
			w.cost -= o.cost
			o.done <- err
		}
		w.queue = kept
	}
	close(w.room)
	w.room = make(chan struct{})
	w.mu.Unlock()
	for _, o := range ops {
		if o.done != nil {
			o.done <- cmp.Or(err, o.lost)
		}
	}
	return err == nil || alone
}

// write applies ops in one transaction.
func (w *writer) write(ops []*op) error {
	sync := false
	for _, o := range ops {
		sync = sync || o.sync
	}
	if sync {
		if err := w.exec("PRAGMA synchronous=FULL"); err != nil {
			return err
		}
		defer w.exec("PRAGMA synchronous=NORMAL")
	}
	return retryBusy(w.path, w.notify, w.enough, func() error {
		transactions.RLock()
		defer transactions.RUnlock()
		if err := w.exec("BEGIN IMMEDIATE"); err != nil {
			return err
		}
		b := newBatch(w)
		var err error
		for _, o := range ops {
			if o.lost, err = b.lost(o.run); err != nil {
				break
			}
			if o.lost != nil {
				continue
			}
			if err = o.apply(b); err != nil {
				break
			}
		}
		if err == nil {
			err = b.finish()
		}
		if err == nil {
			err = w.exec("COMMIT")
		}
		if err != nil {
			w.exec("ROLLBACK") // an error here means that SQLite rolled back by itself
			return err
		}
		b.committed()
		for _, o := range ops {
			if o.after != nil && o.lost == nil {
				o.after()
			}
		}
		return nil
	})
}

// now returns the time in ms, never earlier than before: a clock that is set back gives no negative durations.
func (w *writer) now() int64 {
	w.last = max(w.last, time.Now().UnixMilli())
	return w.last
}

// enough ends waiting for another process's transaction: while the database is open it is waited for as long as it
// takes, since what waits would be lost.
func (w *writer) enough(time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hasty || w.closed && time.Since(w.closing) > closePatience
}

// exec runs a statement without arguments on the writing connection.
func (w *writer) exec(query string) error {
	_, err := w.conn.ExecContext(context.Background(), query)
	return err
}

// prepared returns the statement of query, prepared once.
func (w *writer) prepared(query string) (*sql.Stmt, error) {
	if stmt := w.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(context.Background(), query)
	if err == nil {
		w.stmts[query] = stmt
	}
	return stmt, err
}
