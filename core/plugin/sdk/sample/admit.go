package sample

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/random"
)

// folderPatience limits how long the opening of a set waits for a folder of pictures that is away.
const folderPatience = 3 * time.Second

// The reasons of what admit refuses.
const (
	reasonMissing    = "missing picture"
	reasonNoCaption  = "no caption"
	reasonNoNegative = "no negative"
)

// admit leaves out the samples that can never be used, and counts them as refused: those whose file is not
// there or must not be read, and those without a caption, or without a negative where the set gives negatives. With
// Fail such a sample is an error.
func (s *Set) admit(ctx context.Context) error {
	absent, err := s.absent(ctx)
	if err != nil {
		return err
	}
	n := s.Len()
	var silent, unopposed []int // samples without a caption, without a negative
	drop := map[int]bool{}
	for i := range absent {
		drop[i] = true
	}
	said := map[*string][]string{} // captions without the blank ones; shared lists stay shared
	for i := range s.Samples {
		if s.List != nil || drop[i] {
			continue
		}
		x := &s.Samples[i]
		if x.Captions = dropBlank(said, x.Captions); len(x.Captions) == 0 {
			silent, drop[i] = append(silent, i), true
			continue
		}
		if s.Negatives > 0 && s.Negative == nil {
			if x.Negatives = dropFitting(x.Negatives, x.Captions); len(x.Negatives) == 0 {
				unopposed, drop[i] = append(unopposed, i), true
			}
		}
	}
	if len(drop) == 0 {
		return nil
	}
	if len(absent) > 0 {
		first := slices.Min(slices.Collect(maps.Keys(absent)))
		if s.Fail {
			return fault.New(fault.NotFound, "sample %d (%s): %w", first, s.At(first).Key, absent[first]).WithFile(s.File(first), 0, 0).
				WithReason(reasonMissing).
				WithHint("%d of %d pictures cannot be opened; mend them, or set on_error: skip", len(absent), n)
		}
		s.Remarks = append(s.Remarks, fmt.Sprintf("%d of %d pictures cannot be opened and their records are refused; the first: %s: %v",
			len(absent), n, s.File(first), absent[first]))
		s.SkipAll(clip.Skip{Reason: reasonMissing, Count: len(absent), First: s.firstOf(first, absent[first].Error())})
	}
	for _, lack := range []struct {
		samples            []int
		reason, what, mend string
	}{{silent, reasonNoCaption, "caption", "give it one"}, {unopposed, reasonNoNegative, "negative", "give it a text that does not fit it"}} {
		if len(lack.samples) == 0 {
			continue
		}
		first := s.At(lack.samples[0]).Key
		if s.Fail {
			return fault.New(fault.Corrupt, "sample %d (%s) has no %s", lack.samples[0], first, lack.what).WithReason(lack.reason).
				WithHint("%s, or set on_error: skip", lack.mend)
		}
		s.Remarks = append(s.Remarks, fmt.Sprintf("%d of %d samples have no %s and are refused; the first: %s", len(lack.samples), n, lack.what, first))
		s.SkipAll(clip.Skip{Reason: lack.reason, Count: len(lack.samples), First: s.firstOf(lack.samples[0])})
	}
	s.dropAll(drop)
	return nil
}

// dropAll takes samples out of the set.
func (s *Set) dropAll(drop map[int]bool) {
	keep := make([]int, 0, s.Len()-len(drop))
	for i := range s.Len() {
		if !drop[i] {
			keep = append(keep, i)
		}
	}
	s.shrinkShards(keep)
	open, caption, negative, file := s.Open, s.Caption, s.Negative, s.File
	if open != nil {
		s.Open = func(i int) (vision.Picture, error) { return open(keep[i]) }
	}
	if wait := s.OpenContext; wait != nil {
		s.OpenContext = func(ctx context.Context, i int) (vision.Picture, error) { return wait(ctx, keep[i]) }
	}
	if caption != nil {
		s.Caption = func(i int, r *random.Stream) string { return caption(keep[i], r) }
	}
	if negative != nil {
		s.Negative = func(i int, r *random.Stream) []string { return negative(keep[i], r) }
	}
	if content := s.Content; content != nil {
		s.Content = func(i int) string { return content(keep[i]) }
	}
	if file != nil {
		s.File = func(i int) string { return file(keep[i]) }
	}
	if s.List != nil {
		s.List = part{s.List, keep}
		if s.Digest != "" {
			s.Digest = mixed(s.Digest, keep)
		}
		return
	}
	samples := make([]Sample, len(keep))
	for to, from := range keep {
		samples[to] = s.Samples[from]
	}
	s.Samples = samples
}

// part is some of a list's samples.
type part struct {
	of   List
	kept []int
}

func (p part) Len() int        { return len(p.kept) }
func (p part) At(i int) Sample { return p.of.At(p.kept[i]) }

// mixed returns a digest of a digest and the samples that are left of what it stands for.
func mixed(digest string, kept []int) string {
	h := sha256.New()
	frame(h, digest)
	for _, i := range kept {
		binary.Write(h, binary.LittleEndian, int64(i))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// dropBlank returns a list without the captions that are blank, and the same list when it has none.
func dropBlank(known map[*string][]string, list []string) []string {
	if len(list) == 0 {
		return nil
	}
	if out, ok := known[&list[0]]; ok {
		return out
	}
	out := list
	for i, c := range list {
		switch blank := strings.TrimSpace(c) == ""; {
		case blank && len(out) == len(list):
			out = append([]string(nil), list[:i]...)
		case !blank && len(out) < len(list):
			out = append(out, c)
		}
	}
	known[&list[0]] = out
	return out
}

// dropFitting returns the texts that are not blank and are not among the captions, each once.
func dropFitting(texts, captions []string) []string {
	var out Distinct
	for _, t := range texts {
		if strings.TrimSpace(t) != "" && !slices.Contains(captions, t) {
			out.Add(t)
		}
	}
	return out.List
}

// absent returns the samples whose file cannot be opened, with the reason. It waits a little for a folder that
// is not there, because network file systems come and go.
func (s *Set) absent(ctx context.Context) (map[int]error, error) {
	out := map[int]error{}
	if s.File == nil {
		return out, nil
	}
	if s.held != nil { // they have been looked at, and waited for
		if len(s.held.Missings()) == 0 {
			return out, nil
		}
		for i := range s.Len() {
			var number syscall.Errno // the file is named beside it
			if err := s.held.Missing(s.heldAt(i)); isLasting(err) && errors.As(err, &number) {
				out[i] = number
			}
		}
		return out, nil
	}
	for i := range s.Len() {
		if i%1024 == 0 {
			if err := checkCanceled(ctx); err != nil {
				return nil, err
			}
		}
		if err := checkReadable(s.File(i)); err != nil {
			out[i] = err
		}
	}
	deadline := time.Now().Add(folderPatience)
	for wait := 50 * time.Millisecond; len(out) > 0 && s.folderAway(out) && time.Now().Before(deadline); wait *= 2 {
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
		for i := range out {
			if checkReadable(s.File(i)) == nil {
				delete(out, i)
			}
		}
	}
	return out, nil
}

// folderAway reports whether the folder of an absent file is absent too.
func (s *Set) folderAway(absent map[int]error) bool {
	seen := map[string]bool{}
	for i := range absent {
		dir := filepath.Dir(s.File(i))
		if seen[dir] {
			continue
		}
		seen[dir] = true
		if _, err := os.Stat(dir); err != nil {
			return true
		}
	}
	return false
}

// checkReadable returns why a file cannot be opened as long as nobody changes it. It returns nil when the file
// can be opened, when there is no file, and when the reason may pass.
func checkReadable(file string) error {
	if file == "" {
		return nil
	}
	if err := unix.Access(file, unix.R_OK); isLasting(err) {
		return err
	}
	return nil
}

// isLasting reports whether an error of opening a file stays as long as nobody changes the file.
func isLasting(err error) bool {
	for _, lasting := range []error{unix.ENOENT, unix.ENOTDIR, unix.EACCES, unix.ELOOP, unix.ENAMETOOLONG} {
		if errors.Is(err, lasting) {
			return true
		}
	}
	return false
}

// pause waits, or returns fault.Canceled.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return checkCanceled(ctx)
	}
}
