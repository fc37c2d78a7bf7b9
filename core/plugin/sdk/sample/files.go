package sample

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"tandem/core/clip"
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

// FromFiles takes the pictures of the samples from files, paths[i] for sample i. Samples must be complete. It
// looks at all files, and Pixels becomes their digest. A file that has changed when it is opened later yields
// fault.Conflict.
func (s *Set) FromFiles(ctx context.Context, c clip.DatasetConfig, paths []string, o vision.Options) error {
	memory := ""
	if c.CacheDir != "" {
		memory = filepath.Join(c.CacheDir, "contents")
	}
	held, err := files.Look(ctx, memory, paths, c.Threads)
	if err != nil {
		return err
	}
	names := make([]string, s.Len())
	for i := range names {
		names[i] = s.At(i).Key
	}
	s.File, s.Pixels, s.held = func(i int) string { return paths[i] }, held.Digest(names), held
	s.Open = func(i int) (vision.Picture, error) {
		data, err := held.Read(i, vision.MaxFileBytes)
		if err != nil {
			return vision.Picture{}, err
		}
		return vision.DecodeFile(paths[i], data, o)
	}
	if !held.Whole() {
		s.Note += fmt.Sprintf("; the digest stands for sizes and times of the files: their %d MiB are too many to be read at every start",
			held.Bytes()>>20)
	}
	return nil
}

// Key returns a file's name as the key of its sample. Bytes that are not UTF-8 become \xff and the like.
func Key(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	var out strings.Builder
	for len(name) > 0 {
		r, n := utf8.DecodeRuneInString(name)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&out, `\x%02x`, name[0])
		} else {
			out.WriteString(name[:n])
		}
		name = name[n:]
	}
	return out.String()
}

// Missing returns why the picture file of sample i could not be read when the set was opened (FromFiles); nil
// when it could.
func (s *Set) Missing(i int) error {
	if s.held == nil {
		return nil
	}
	return s.held.Missing(i)
}
