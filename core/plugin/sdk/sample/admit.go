package sample

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	if s.Files != nil && len(s.Files) != len(s.Samples) {
		return fault.New(fault.Internal, "%d files for %d samples", len(s.Files), len(s.Samples))
	}
	absent, err := s.absent(ctx)
	if err != nil {
		return err
	}
	keep, silent, fitting := make([]int, 0, len(s.Samples)), 0, 0
	said := map[*string][]string{}     // captions without the blank ones; shared lists stay shared
	first, quiet, friend := -1, -1, -1 // of the samples that are absent, without a caption, without a negative
	for i := range s.Samples {
		if absent[i] != nil {
			if first < 0 {
				first = i
			}
			continue
		}
		x := &s.Samples[i]
		if x.Captions = dropBlank(said, x.Captions); len(x.Captions) == 0 {
			if quiet < 0 {
				quiet = i
			}
			silent++
			continue
		}
		if s.Negatives > 0 && s.Negative == nil {
			x.Negatives = dropFitting(x.Negatives, x.Captions)
			if len(x.Negatives) == 0 {
				if friend < 0 {
					friend = i
				}
				fitting++
				continue
			}
		}
		keep = append(keep, i)
	}
	if len(keep) == len(s.Samples) {
		return nil
	}
	if len(absent) > 0 {
		if s.Fail {
			return fault.New(fault.NotFound, "sample %d (%s): %w", first, s.Samples[first].Key, absent[first]).WithFile(s.Files[first], 0, 0).
				WithReason(reasonMissing).
				WithHint("%d of %d pictures cannot be opened; mend them, or set on_error: skip", len(absent), len(s.Samples))
		}
		s.Remarks = append(s.Remarks, fmt.Sprintf("%d of %d pictures cannot be opened and their records are refused; the first: %s: %v",
			len(absent), len(s.Samples), s.Files[first], absent[first]))
		s.SkipAll(clip.Skip{Reason: reasonMissing, Count: len(absent), First: s.firstOf(first, absent[first].Error())})
	}
	if silent > 0 {
		if s.Fail {
			return fault.New(fault.Corrupt, "sample %d (%s) has no caption", quiet, s.Samples[quiet].Key).WithReason(reasonNoCaption).
				WithHint("give it one, or set on_error: skip")
		}
		s.Remarks = append(s.Remarks, fmt.Sprintf("%d of %d samples have no caption and are refused; the first: %s", silent, len(s.Samples), s.Samples[quiet].Key))
		s.SkipAll(clip.Skip{Reason: reasonNoCaption, Count: silent, First: s.firstOf(quiet)})
	}
	if fitting > 0 {
		if s.Fail {
			return fault.New(fault.Corrupt, "sample %d (%s) has no negative", friend, s.Samples[friend].Key).WithReason(reasonNoNegative).
				WithHint("give it a text that does not fit it, or set on_error: skip")
		}
		s.Remarks = append(s.Remarks, fmt.Sprintf("%d of %d samples have no negative and are refused; the first: %s", fitting, len(s.Samples), s.Samples[friend].Key))
		s.SkipAll(clip.Skip{Reason: reasonNoNegative, Count: fitting, First: s.firstOf(friend)})
	}
	s.keepOnly(keep)
	return nil
}

// keepOnly keeps only the samples at indices.
func (s *Set) keepOnly(indices []int) {
	open, caption, negative := s.Open, s.Caption, s.Negative
	s.Open = func(i int) (vision.Picture, error) { return open(indices[i]) }
	if caption != nil {
		s.Caption = func(i int, r *random.Stream) string { return caption(indices[i], r) }
	}
	if negative != nil {
		s.Negative = func(i int, r *random.Stream) []string { return negative(indices[i], r) }
	}
	samples, files := make([]Sample, len(indices)), make([]string, len(indices))
	for to, from := range indices {
		samples[to] = s.Samples[from]
		if s.Files != nil {
			files[to] = s.Files[from]
		}
	}
	s.shrinkShards(indices)
	s.Samples = samples
	if s.Files != nil {
		s.Files = files
	}
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
	for i, file := range s.Files {
		if i%1024 == 0 {
			if err := checkCanceled(ctx); err != nil {
				return nil, err
			}
		}
		if err := checkReadable(file); err != nil {
			out[i] = err
		}
	}
	deadline := time.Now().Add(folderPatience)
	for wait := 50 * time.Millisecond; len(out) > 0 && s.folderAway(out) && time.Now().Before(deadline); wait *= 2 {
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
		for i := range out {
			if checkReadable(s.Files[i]) == nil {
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
		dir := filepath.Dir(s.Files[i])
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
	err := unix.Access(file, unix.R_OK)
	for _, lasting := range []error{unix.ENOENT, unix.ENOTDIR, unix.EACCES, unix.ELOOP, unix.ENAMETOOLONG} {
		if errors.Is(err, lasting) {
			return err
		}
	}
	return nil
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
