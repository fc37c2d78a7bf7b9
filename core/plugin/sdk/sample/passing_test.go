package sample

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/media/vision"
)

// onDisk makes plain(n) with an empty file for every sample, except those that are absent.
func onDisk(t *testing.T, n int, absent ...int) *Set {
	t.Helper()
	dir, set := t.TempDir(), plain(n)
	set.File = func(i int) string { return filepath.Join(dir, fmt.Sprint("k", i)) }
	for i := range n {
		if !slices.Contains(absent, i) {
			if err := os.WriteFile(set.File(i), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return set
}

func open(set *Set, c clip.DatasetConfig) (*dataset, clip.DatasetInfo, error) {
	d := New(func(context.Context, clip.DatasetConfig) (*Set, error) { return set, nil }).(*dataset)
	c.ImageSize, c.Threads = 4, max(1, c.Threads)
	info, err := d.Configure(context.Background(), c)
	return d, info, err
}

func TestAFileThatIsAwayForAMomentIsReadAgain(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOENT, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ESTALE} {
		set := onDisk(t, 4)
		inner, tries := set.Open, 0
		set.Open = func(i int) (vision.Picture, error) {
			if tries++; tries < 4 {
				return vision.Picture{}, files.Error(set.File(i), &os.PathError{Op: "open", Path: set.File(i), Err: errno})
			}
			return inner(i)
		}
		d, _, err := open(set, clip.DatasetConfig{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{2, 3}})
		if err != nil || len(b.Faults) != 0 || b.Images.U8()[0] != 2 || tries != 5 {
			t.Errorf("%v: %v after %d tries", errno, err, tries)
		}
	}
}

// A file that stays away ends the batch, whatever on_error says: the run is to go on later with the same samples.
func TestAFileThatStaysAwayIsAnErrorAndNotRemembered(t *testing.T) {
	set := onDisk(t, 4)
	inner := set.Open
	var away atomic.Bool
	away.Store(true)
	set.Open = func(i int) (vision.Picture, error) {
		if away.Load() {
			return vision.Picture{}, files.Error(set.File(i), syscall.EIO)
		}
		return inner(i)
	}
	d, _, err := open(set, clip.DatasetConfig{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	d.set.patience = 30 * time.Millisecond
	_, err = d.Batch(t.Context(), clip.BatchRequest{Indices: []int{1, 2}})
	if f := new(fault.Error); !errors.As(err, &f) || f.Kind != fault.Unavailable || !strings.Contains(f.Error(), "k1") || f.Hint == "" {
		t.Errorf("got %v", err)
	}
	away.Store(false)
	if b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{1, 2}}); err != nil || len(b.Faults) != 0 {
		t.Errorf("after the outage: %v", err)
	}
}

func TestWaitingForAFileEndsWithTheCall(t *testing.T) {
	set := onDisk(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	set.Open = func(i int) (vision.Picture, error) {
		cancel() // while it is tried again
		return vision.Picture{}, files.Error(set.File(i), syscall.ESTALE)
	}
	d, _, err := open(set, clip.DatasetConfig{})
	if err != nil {
		t.Fatal(err)
	}
	d.set.patience = time.Hour
	if _, err := d.Batch(ctx, clip.BatchRequest{Indices: []int{0}}); fault.KindOf(err) != fault.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsAbsentAtOpeningIsRefusedAndCounted(t *testing.T) {
	set := onDisk(t, 6, 0, 3)
	set.Skipped = 1
	d, info, err := open(set, clip.DatasetConfig{})
	if err != nil || info.Len != 4 || info.Skipped != 3 || len(info.Remarks) != 1 || !strings.Contains(info.Remarks[0], "2 of 6 pictures") ||
		!strings.Contains(info.Remarks[0], "k0: no such file") {
		t.Fatalf("%+v, %v", info, err)
	}
	b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{0, 1, 2, 3}})
	if err != nil || !slices.Equal(b.Keys, []string{"k1", "k2", "k4", "k5"}) || b.Images.U8()[48*2] != 4 || b.Captions[3] != "number 5" {
		t.Errorf("%+v, %v", b, err)
	}
	none := onDisk(t, 2, 0, 1)
	if _, _, err := open(none, clip.DatasetConfig{}); fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Format(err), "k0") {
		t.Errorf("nothing left: %v", err)
	}
	strict := onDisk(t, 6, 3)
	strict.Fail = true
	if _, _, err := open(strict, clip.DatasetConfig{}); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "k3") {
		t.Errorf("on_error fail: %v", err)
	}
}

func TestSamplesWithoutAWordAreRefused(t *testing.T) {
	set := plain(4)
	set.Samples[1].Captions = []string{"", " \t", "\u00a0"}
	set.Samples[2].Captions = []string{" ", "two", ""}
	d, info, err := open(set, clip.DatasetConfig{})
	if err != nil || info.Len != 3 || info.Skipped != 1 || len(info.Remarks) != 1 || !strings.Contains(info.Remarks[0], "k1") {
		t.Fatalf("%+v, %v", info, err)
	}
	b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{1}})
	if err != nil || !slices.Equal(b.All[0], []string{"two"}) {
		t.Errorf("captions %q, %v", b.All, err)
	}
}

func TestClosingTheDatasetClosesTheSet(t *testing.T) {
	set, closed := plain(3), 0
	set.Close = func() { closed++ }
	d, _, err := open(set, clip.DatasetConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Close(); d.Close() != nil || closed != 1 {
		t.Errorf("closed %d times", closed)
	}
}
