package conformance

import (
	"errors"
	"os"
	"path/filepath"
)

// shared holds one instance that rules use one after another, put back by Load to what it was after Configure. A process
// may need seconds to start. When it cannot be put back, each rule has an instance of its own.
type shared[T trainable] struct {
	open  func() (T, error)
	bits  func(T) (string, error) // what the instance gives
	dir   string
	one   T
	first string // its bits after Configure
	held  bool   // there is an instance
	alone bool   // each rule has its own
}

// use calls f with an instance as it is after Configure.
func (s *shared[T]) use(f func(T) error) error {
	if s.held && !s.putBack() {
		s.drop()
		s.alone = true
	}
	if s.alone {
		one, err := s.open()
		if err != nil {
			return err
		}
		defer one.Close() // its error belongs to the rule about Close
		return f(one)
	}
	if !s.held {
		var err error
		if s.one, err = s.open(); err != nil {
			return err
		}
		s.held = true
		s.remember()
	}
	return f(s.one)
}

// remember saves the instance. What fails here is the matter of other rules.
func (s *shared[T]) remember() {
	err := errors.New("there is no folder for checkpoints")
	if s.dir != "" {
		_ = catchPanic(func() error { s.first, err = s.bits(s.one); return nil })
	}
	if err == nil {
		err = catchPanic(func() error { return s.one.Save(ctx, s.path()) })
	}
	if err != nil {
		s.first = ""
	}
}

func (s *shared[T]) path() string { return filepath.Join(s.dir, "shared.safetensors") }

// putBack reports whether the instance is again as it was after Configure.
func (s *shared[T]) putBack() bool {
	return s.first != "" && catchPanic(func() error {
		if err := errors.Join(s.one.Step(ctx, 1, 0, 0), s.one.Load(ctx, s.path())); err != nil {
			return err
		}
		if n, err := s.one.GradNorm(ctx); err != nil || n != 0 {
			return errors.New("gradients are left")
		}
		again, err := s.bits(s.one)
		if err == nil && again != s.first {
			err = errors.New("it gives other bits")
		}
		return err
	}) == nil
}

func (s *shared[T]) drop() {
	if s.held {
		s.one.Close()
		s.held = false
	}
}

// sharing calls f with a folder for checkpoints, "" when there is none.
func sharing[R any](f func(dir string) R) R {
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return f("")
	}
	defer os.RemoveAll(dir)
	return f(dir)
}
