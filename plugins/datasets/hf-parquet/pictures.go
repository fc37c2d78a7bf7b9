package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"tandem/core/clip"
	"tandem/core/data/object"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk/sample"
)

// path returns the picture file of a sample; "" for a picture that is in the Parquet file.
func (r *rows) path(i int) string {
	if i >= len(r.paths) || r.paths[i] == 0 {
		return ""
	}
	root := r.cfg.Root
	if root == "" {
		root = object.Dir(r.file(int(r.at[i])).Name())
	}
	return object.Join(root, r.texts.Get(r.paths[i]))
}

// pictures says where the pictures of the set come from.
func (r *rows) pictures(ctx context.Context, c clip.DatasetConfig, store *object.Store) error {
	o := r.cfg.vision()
	whole := len(r.paths) == len(r.at)
	for i := range r.paths {
		whole = whole && r.paths[i] != 0
	}
	if whole && len(r.at) > 0 { // all are files, of which several samples may share one
		names := sample.NewNames(r.texts)
		of := make([]int32, len(r.at))
		for i := range of {
			n, _ := names.Number(r.path(i))
			of[i] = int32(n)
		}
		names.Done()
		r.set.Shards = nil
		return r.set.FromNames(ctx, c, store, names.Len(), names.Get, func(i int) int { return int(of[i]) }, o)
	}
	digest, err := r.digest(ctx, c)
	if err != nil {
		return err
	}
	r.set.Pixels = digest
	if r.paths != nil {
		r.set.File = func(i int) string {
			if path := r.path(i); !object.IsAddress(path) {
				return path
			}
			return ""
		}
	}
	how := sample.Decoding(o)
	r.set.Content = func(i int) string {
		if r.path(i) != "" {
			return "" // its file is looked at when it is read
		}
		return fmt.Sprintf("%s row %d%s", digest, r.at[i], how)
	}
	r.set.OpenContext = func(ctx context.Context, i int) (vision.Picture, error) {
		if path := r.path(i); path != "" {
			return sample.ReadPictureFrom(ctx, store, path, o)
		}
		row := int(r.at[i])
		f := r.file(row)
		data, ok, err := f.Bytes(*f.bytes, int64(row-f.start), r.cache)
		if err != nil {
			return vision.Picture{}, err
		}
		if !ok {
			return vision.Picture{}, fault.New(fault.Corrupt, "no picture").WithFile(f.Name(), row-f.start+1, 0).WithReason("no picture")
		}
		p, err := vision.Decode(data, o)
		if err != nil {
			return p, named(err, f.Name(), row-f.start+1)
		}
		return p, nil
	}
	return nil
}

// named returns an error of decoding with the place of the picture.
func named(err error, file string, row int) error {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.WithFile(file, row, 0)
	}
	return err
}

// digest returns a digest of what is in the files. Remote ones are told apart by their versions.
func (r *rows) digest(ctx context.Context, c clip.DatasetConfig) (string, error) {
	var local []*file
	text := ""
	for _, f := range r.files {
		if object.IsAddress(f.Name()) {
			text += f.name + " " + f.version + "\n"
		} else {
			local = append(local, f)
		}
	}
	memory := ""
	if c.CacheDir != "" {
		memory = filepath.Join(c.CacheDir, "contents")
	}
	held, err := files.Look(ctx, memory, len(local), func(i int) string { return local[i].Name() }, c.Threads)
	if err != nil {
		return "", err
	}
	if !held.Whole() {
		r.set.Note += fmt.Sprintf("; the digest stands for sizes and times of the files: their %d MiB are too many to be read at every start", held.Bytes()>>20)
	}
	return held.Digest(len(local), func(i int) string { return local[i].name }, func(i int) int { return i }) + text, nil
}
