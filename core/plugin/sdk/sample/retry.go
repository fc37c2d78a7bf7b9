package sample

import (
	"context"
	"errors"
	"log"
	"syscall"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/media/vision"
)

// filePatience limits how long a file that was there is tried again. A hiccup of a network file system is over
// by then, and whoever watches plugins has not given up yet.
const filePatience = 30 * time.Second

// open opens the picture of sample i. It tries again, ever more slowly, while the error may pass.
func (r *reader) open(ctx context.Context, i int) (vision.Picture, error) {
	waited := time.Duration(0)
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		p, err := r.openOnce(ctx, i)
		if err == nil || !r.isTransient(err) || waited >= r.patience {
			return p, err
		}
		if waited == 0 {
			if r.waiting.Add(1) == 1 { // one line for all workers, into the plugin's log
				log.Printf("sample %d (%s) is tried again: %v", i, r.At(i).Key, err)
			}
			defer r.waiting.Add(-1)
		}
		if err := pause(ctx, wait); err != nil {
			return vision.Picture{}, err
		}
		waited += wait
	}
}

func (r *reader) openOnce(ctx context.Context, i int) (vision.Picture, error) {
	if r.OpenContext != nil {
		return r.OpenContext(ctx, i)
	}
	return r.Open(i)
}

// isTransient reports whether an error may pass by itself: the system could not open or read the file, and
// nothing is known of the sample. A missing file counts only when the set named its files, since otherwise
// nobody checked that it was there.
func (r *reader) isTransient(err error) bool {
	return isSystemError(err) && !endsBatch(err) && !(r.File == nil && errors.Is(err, syscall.ENOENT))
}

// isSystemError reports whether an error comes from the operating system and not from the content of a file.
func isSystemError(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno != syscall.EISDIR && errno != syscall.ENAMETOOLONG
}

// endsBatch reports whether an error says nothing against its sample, and will not pass either: whoever reads from a store has
// waited for it.
func endsBatch(err error) bool {
	reason := fault.ReasonOf(err)
	return reason == clip.ReasonStore || reason == clip.ReasonChanged
}
