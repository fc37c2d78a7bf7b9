package sample

import (
	"context"
	"fmt"
	"path/filepath"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/media/vision"
)

// ReadPicture reads and decodes a picture file. Its error names the file.
func ReadPicture(path string, o vision.Options) (vision.Picture, error) {
	data, err := files.Read(path, vision.MaxFileBytes)
	if err != nil {
		return vision.Picture{}, err
	}
	return vision.DecodeFile(path, data, o)
}

// Decoding returns a text for the end of a Content: how pictures are decoded.
func Decoding(o vision.Options) string {
	background := vision.White
	if o.Background != nil {
		background = *o.Background
	}
	return fmt.Sprintf(" on %v, alpha dropped %v, at most %d pixels", background, o.DropAlpha, o.MaxPixels)
}

// FromFiles takes the pictures of the samples from files, paths[i] for sample i. Samples must be complete. It
// looks at all files, and Pixels becomes their digest. A file that has changed when it is opened later yields
// fault.Conflict.
func (s *Set) FromFiles(ctx context.Context, c clip.DatasetConfig, paths []string, o vision.Options) error {
	known := make(map[string]int, len(paths))
	var distinct []string
	of := make([]int, len(paths))
	for i, p := range paths {
		at, ok := known[p]
		if !ok {
			at = len(distinct)
			known[p] = at
			distinct = append(distinct, p)
		}
		of[i] = at
	}
	return s.FromList(ctx, c, len(distinct), func(k int) string { return distinct[k] }, func(i int) int { return of[i] }, o)
}

// FromList does what FromFiles does with n files that all differ, whose paths path gives. The file of sample i is file(i).
func (s *Set) FromList(ctx context.Context, c clip.DatasetConfig, n int, path func(k int) string, file func(i int) int, o vision.Options) error {
	memory := ""
	if c.CacheDir != "" {
		memory = filepath.Join(c.CacheDir, "contents")
	}
	held, err := files.Look(ctx, memory, n, path, c.Threads)
	if err != nil {
		return err
	}
	s.File, s.held, s.heldAt = func(i int) string { return path(file(i)) }, held, file
	s.Pixels = held.Digest(s.Len(), func(i int) string { return s.At(i).Key }, file)
	s.Open = func(i int) (vision.Picture, error) {
		data, err := held.Read(file(i), vision.MaxFileBytes)
		if err != nil {
			return vision.Picture{}, err
		}
		return vision.DecodeFile(path(file(i)), data, o)
	}
	how := Decoding(o)
	s.Content = func(i int) string { return held.ID(file(i)) + how }
	if !held.Whole() {
		s.Note += fmt.Sprintf("; the digest stands for sizes and times of the files: %d of %d MiB are too many to be read at every start",
			n, held.Bytes()>>20)
	}
	return nil
}

// Key returns a file's name as the key of its sample. Bytes that are not UTF-8 become \xff and the like.
func Key(name string) string { return fault.ValidUTF8(name) }

// MissingFirst returns the first samples, so many at most, whose picture file could not be opened when the set was opened
// (FromFiles, FromList).
func (s *Set) MissingFirst(most int) []int {
	var out []int
	if s.held == nil || len(s.held.Missings()) == 0 {
		return nil
	}
	for i := 0; i < s.Len() && len(out) < most; i++ {
		if s.held.Missing(s.heldAt(i)) != nil {
			out = append(out, i)
		}
	}
	return out
}
