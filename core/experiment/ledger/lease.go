package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem/core/fault"
)

// ErrLost is the error of an attempt whose owner was taken for dead: another one makes the trial.
var ErrLost = errors.New("the trial was taken over, since there was no sign of life from here")

// Lease is an attempt of this process.
type Lease struct {
	ledger Ledger
	trial  string
	n      int
	began  time.Time

	mu       sync.Mutex
	progress Progress
	lost     chan struct{}
	stop     chan struct{}
	ended    sync.WaitGroup
}

// Progress tells how far an attempt is.
type Progress struct {
	Run   string `json:"run_id"`
	Step  int    `json:"step"`
	Steps int    `json:"steps"`
}

// Take begins the next attempt at a trial, whose state was read before. It returns nil without an error when the trial is not to be
// had: it is over, its owner lives, or somebody else was faster.
func (l Ledger) Take(s State, o Owner) (*Lease, error) {
	if s.Over() != nil {
		return nil, nil
	}
	n := 1
	if last := s.Last(); last != nil {
		n = last.N + 1
		if last.End == nil {
			stale, err := l.IsStale(s.Trial, last.N)
			if err != nil || !stale {
				return nil, err
			}
			end := Outcome{Status: Lost, By: fmt.Sprintf("%s, process %d", o.Host, o.PID), At: time.Now(),
				Message: fmt.Sprintf("no sign of life from process %d on %s for %v: killed, or the node failed", last.Owner.PID, last.Owner.Host, l.expiry())}
			if p, err := l.Progress(s.Trial, last.N); err == nil {
				end.Run, end.Step, end.Steps = p.Run, p.Step, p.Steps
			}
			if made, err := l.publish(s.Trial, fileName(last.N, endEnding), end); err != nil || !made {
				return nil, err // it was alive after all, or another one takes it
			}
		}
	}
	if err := os.MkdirAll(l.TrialDir(s.Trial), 0o777); err != nil {
		return nil, l.fault(err)
	}
	o.At = time.Now()
	if made, err := l.publish(s.Trial, fileName(n, leaseEnding), o); err != nil || !made {
		return nil, err
	}
	lease := &Lease{ledger: l, trial: s.Trial, n: n, began: time.Now(), lost: make(chan struct{}), stop: make(chan struct{})}
	lease.ended.Go(lease.beat)
	return lease, nil
}

// publish makes a file with a value as JSON, whole and durable; false when there is one already.
func (l Ledger) publish(trial, name string, value any) (made bool, err error) {
	dir := l.TrialDir(trial)
	temp, err := writeTemp(dir, value)
	if err != nil {
		return false, l.fault(err)
	}
	defer os.Remove(temp)
	err = os.Link(temp, filepath.Join(dir, name))
	if err == nil {
		syncDir(dir)
		return true, nil
	}
	// The answer of a file server can get lost, and the repeated question finds the link there: the number of links tells.
	if info, statErr := os.Lstat(temp); statErr == nil && links(info) == 2 {
		syncDir(dir)
		return true, nil
	}
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EMLINK) {
		return false, fault.New(fault.Unavailable, "the file system makes no links: %w", err).WithFile(dir, 0, 0).
			WithHint("put the study's folder on NFS, Lustre, GPFS or a local disk; object stores mounted as folders cannot say who was first")
	}
	return false, l.fault(err)
}

func writeTemp(dir string, value any) (path string, err error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", fault.New(fault.Internal, "%w", err)
	}
	f, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

func links(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink)
	}
	return 0
}

// syncDir makes new names durable where the file system can.
func syncDir(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = f.Sync()
		f.Close()
	}
}

// Attempt returns the number of the attempt, from 1.
func (l *Lease) Attempt() int { return l.n }

// Dir returns the folder of the trial.
func (l *Lease) Dir() string { return l.ledger.TrialDir(l.trial) }

// Path returns the path of a file of this attempt: 0003.db for the ending .db.
func (l *Lease) Path(ending string) string { return filepath.Join(l.Dir(), fileName(l.n, ending)) }

// Lost returns a channel that closes when the trial was taken over, or may be before the owner could tell.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// IsLost asks the ledger whether the trial was taken over.
func (l *Lease) IsLost() bool {
	_, err := os.Lstat(l.Path(endEnding))
	return err == nil
}

// Report says how far the attempt is, for Progress.
func (l *Lease) Report(p Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress = p
}

// beat gives signs of life until the lease ends or is lost.
func (l *Lease) beat() {
	every := l.ledger.expiry() / 10
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := time.Now()
	var told Progress
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		if l.IsLost() {
			close(l.lost)
			return
		}
		if err := touch(l.Path(leaseEnding)); err == nil {
			last = time.Now()
		} else if errors.Is(err, os.ErrNotExist) || time.Since(last) > l.ledger.expiry()*2/3 {
			close(l.lost)
			return
		}
		l.mu.Lock()
		now := l.progress
		l.mu.Unlock()
		if now != told && l.write(progressEnding, now) == nil {
			told = now
		}
	}
}

// touch sets the time of a file to that of its server, whatever the clock here says.
func touch(path string) error {
	now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, now, 0)
}

// write replaces a file of the attempt.
func (l *Lease) write(ending string, value any) error {
	temp, err := writeTemp(l.Dir(), value)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, l.Path(ending)); err != nil {
		os.Remove(temp)
		return err
	}
	return nil
}

// Progress returns how far an attempt was when it said so last.
func (l Ledger) Progress(trial string, n int) (p Progress, err error) {
	err = l.read(trial, fileName(n, progressEnding), &p)
	return p, err
}

// End ends the attempt. ErrLost says that the trial was taken over before, and that the outcome does not count.
func (l *Lease) End(o Outcome) error {
	close(l.stop)
	l.ended.Wait()
	o.At, o.Seconds = time.Now(), time.Since(l.began).Seconds()
	made, err := l.ledger.publish(l.trial, fileName(l.n, endEnding), o)
	if err == nil && !made {
		return ErrLost
	}
	return err
}
