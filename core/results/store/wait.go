package store

import (
	"fmt"
	"sync"
	"time"
)

const (
	// noticeAfter delays the first notice that another process's transaction is waited for, and noticeEvery the next ones.
	noticeAfter = 5 * time.Second
	noticeEvery = 30 * time.Second
	// openPatience limits the wait of those who cannot be told to stop.
	openPatience = 10 * time.Minute
	// closePatience limits how long a database that is being closed waits for others: nobody waits for what it still writes.
	closePatience = 10 * time.Second
)

// waiting tells people what is waited for; nil tells nobody.
type waiting func(message string)

// Option makes a choice that Open leaves to its caller.
type Option func(*DB)

// OnWait has f told, from any goroutine, when another process keeps the database locked for long, now and then while
// it does, and when it is free again.
func OnWait(f func(message string)) Option {
	return func(db *DB) { db.notify = f }
}

// retryBusy repeats fn while another process's transaction is in the way and enough does not say that it was waited
// for long enough. A lock that is gone again is no fault, however long it was held: the caller's work is not lost.
func retryBusy(path string, notify waiting, enough func(waited time.Duration) bool, fn func() error) error {
	start := time.Now()
	next := noticeAfter
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := fn()
		waited := time.Since(start)
		if busy := isBusy(err); !busy || enough(waited) {
			if next > noticeAfter && notify != nil && !busy {
				notify(fmt.Sprintf("results database %s: free again after %v", path, waited.Round(time.Second)))
			}
			return err
		}
		if waited >= next {
			if notify != nil {
				notify(fmt.Sprintf("results database %s: another process has kept it locked for %v; waiting for it%s", path, waited.Round(time.Second), holder(path)))
			}
			next += noticeEvery
		}
		time.Sleep(pause)
	}
}

// within makes an enough for retryBusy that is reached after a time.
func within(limit time.Duration) func(time.Duration) bool {
	return func(waited time.Duration) bool { return waited > limit }
}

// transactions locks out Still: it is held for reading around every transaction that writes.
var transactions sync.RWMutex

// Still calls f at a moment when no transaction of this process is open, and lets none begin until f returns: a
// process that is suspended in the midst of one would keep all others from writing until it goes on.
func Still(f func()) {
	transactions.Lock()
	defer transactions.Unlock()
	f()
}
