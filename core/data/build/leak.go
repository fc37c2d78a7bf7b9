package build

import (
	"archive/tar"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tandem/core/data/alike"
	"tandem/core/data/build/ledger"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/media/vision"
)

// leaks holds the pictures of evaluation sets.
type leaks struct {
	exact map[string]bool // hex
	near  alike.Index
}

func (l *leaks) has(p *ledger.Picture, distance int) bool {
	return l.exact[p.Exact] || len(l.near.Near(p.Alike, distance)) > 0
}

func (l *leaks) add(data []byte) {
	pic, err := vision.Decode(data, vision.Options{})
	if err != nil {
		return // it cannot be the same as one that is read
	}
	sum := alike.Exact(pic)
	l.exact[hex.EncodeToString(sum[:])] = true
	l.near.Add(alike.Perceptual(pic), l.near.Len())
}

// readLeaks reads what the filter leakage compares with.
func (b *builder) readLeaks(ctx context.Context) (*leaks, error) {
	l := &leaks{exact: map[string]bool{}}
	if !b.config.Filters.Leakage.On {
		return l, nil
	}
	for _, name := range b.config.Filters.Leakage.Value.Against {
		at := b.config.path(name)
		info, err := os.Stat(at)
		b.watch.Progress("hashing "+filepath.Base(at), 0, 0)
		switch {
		case err != nil:
			err = pathError(at, err)
		case info.IsDir():
			err = l.folder(ctx, at)
		case strings.EqualFold(filepath.Ext(at), ".tar"):
			err = l.shard(ctx, at)
		default:
			err = l.hashes(at)
		}
		if err != nil {
			return nil, keyed(err, "filters.leakage.against")
		}
	}
	if l.near.Len() == 0 && len(l.exact) == 0 {
		return nil, fault.New(fault.Invalid, "there is no picture and no hash in %s", strings.Join(b.config.Filters.Leakage.Value.Against, ", ")).
			WithPath("filters.leakage.against")
	}
	return l, nil
}

func (l *leaks) folder(ctx context.Context, dir string) error {
	return filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return pathError(name, err)
		}
		if ctx.Err() != nil {
			return fault.New(fault.Canceled, "%w", ctx.Err())
		}
		if !d.Type().IsRegular() || !files.IsPicture(name) {
			return nil
		}
		data, err := files.Read(name, maxPicture)
		if err == nil {
			l.add(data)
		}
		return nil
	})
}

func (l *leaks) shard(ctx context.Context, name string) error {
	f, err := files.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for r := tar.NewReader(f); ctx.Err() == nil; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault.New(fault.Corrupt, "%w", err).WithFile(name, 0, 0)
		}
		if h.Typeflag != tar.TypeReg || h.Size > maxPicture || !files.IsPicture(h.Name) {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return fault.New(fault.Corrupt, "%w", err).WithFile(name, 0, 0)
		}
		l.add(data)
	}
	return fault.New(fault.Canceled, "%w", ctx.Err())
}

// hashes reads a file with a hash on each line.
func (l *leaks) hashes(name string) error {
	data, err := files.Read(name, 1<<30)
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		text := strings.ToLower(strings.TrimSpace(line))
		isHex := !slices.ContainsFunc([]byte(text), func(c byte) bool { return !strings.ContainsRune("0123456789abcdef", rune(c)) })
		switch {
		case text == "" || text[0] == '#':
		case isHex && len(text) == 16:
			h, _ := strconv.ParseUint(text, 16, 64)
			l.near.Add(h, l.near.Len())
		case isHex && len(text) == 64:
			l.exact[text] = true
		default:
			return fault.New(fault.Invalid, "%.40q is no hash of 16 or 64 hex digits", text).WithFile(name, n, 0)
		}
	}
	return nil
}
