package shard

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tandem/core/data/object"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/files/leftover"
)

// packings lists the compressions of shards by the bytes that they begin with.
var packings = []struct{ name, magic string }{
	{"gzip", "\x1f\x8b"}, {"zstd", "\x28\xb5\x2f\xfd"}, {"bzip2", "BZh"}, {"xz", "\xfd7zXZ\x00"}, {"lz4", "\x04\x22\x4d\x18"},
}

// packing returns the name of the compression of what begins with head; "" for none.
func packing(head []byte) string {
	for _, p := range packings {
		if bytes.HasPrefix(head, []byte(p.magic)) && !(len(head) == block && isHeader(head)) {
			return p.name
		}
	}
	return ""
}

// maxWindow limits the memory of an unpacker in bytes.
const maxWindow = 256 << 20

func unpacker(name string, r io.Reader) (io.Reader, func(), error) {
	switch name {
	case "gzip":
		z, err := gzip.NewReader(r)
		return z, func() {}, err
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	case "bzip2":
		return bzip2.NewReader(r), func() {}, nil
	}
	return nil, nil, fault.New(fault.Unavailable, "%s is not unpacked here: use .tar, .tar.gz or .tar.zst", name)
}

// copiesHint says what to do about a folder that takes no copies.
const copiesHint = "copies of compressed shards are kept there: make room, name another folder in index_dir, or unpack the shards yourself"

// withHint gives an error a hint.
func withHint(err error, hint string) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		f.Hint = hint
	}
	return err
}

// unpack writes what a compressed shard holds to a copy, which it opens. Compressed data cannot be read at any place. What of a
// broken shard can be unpacked is in the copy. x gets the sum, the length and the flaw.
func (b *builder) unpack(ctx context.Context, obj object.Object, x *Index) (*os.File, error) {
	folder, prefix, temporary := b.Folder, "", b.Folder == ""
	path := fileOf(b.Folder, x.name, x.Version, copyEnding)
	if temporary {
		folder, prefix = os.TempDir(), "tandem-"
	}
	f, err := leftover.File(folder, "."+prefix+filepath.Base(path)+"-", ".tmp")
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%w", err).WithFile(folder, 0, 0).
			WithHint(copiesHint)
	}
	fail := func(err error) (*os.File, error) {
		os.Remove(f.Name())
		f.Close()
		return nil, err
	}
	sum := sha256.New()
	source := &source{ctx: ctx, r: bufio.NewReaderSize(io.NewSectionReader(ending{ctx, obj}, 0, obj.Size()), wholeWindow), sum: sum}
	out := &bounded{w: f, left: &b.left}
	r, release, err := unpacker(x.Packed, source)
	if err == nil {
		x.Unpacked, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{r}, make([]byte, 1<<17))
		release()
	}
	switch {
	case source.err != nil:
		return fail(source.err)
	case out.full:
		return fail(fault.New(fault.Exhausted, "unpacked copies of compressed shards take more than %d bytes", b.UnpackedBytes).WithFile(x.Shard, 0, 0).
			WithPath("with.unpack_gib").WithHint("unpack the shards yourself, or raise the limit"))
	case out.err != nil:
		return fail(withHint(files.Error(f.Name(), out.err), copiesHint))
	case fault.KindOf(err) == fault.Unavailable:
		x.flaw(reasonShard, "", err.Error())
	case err != nil:
		x.flaw(reasonShard, "", fmt.Sprintf("its %s is broken: %v; %d bytes could be unpacked", x.Packed, err, x.Unpacked))
	}
	if _, err := io.Copy(io.Discard, source); err != nil { // behind the end of what is compressed, for the sum
		return fail(err)
	}
	if b.whole {
		x.Sum = hex.EncodeToString(sum.Sum(nil))
	}
	if temporary {
		os.Remove(f.Name()) // it lives as long as it is open
		return f, nil
	}
	if err := f.Chmod(0o644); err != nil {
		return fail(files.Error(f.Name(), err))
	}
	if err := f.Sync(); err != nil {
		return fail(files.Error(f.Name(), err))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fail(files.Error(path, err))
	}
	return f, nil
}

// source reads a shard, and tells errors of reading from those of what is read.
type source struct {
	ctx context.Context
	r   io.Reader
	sum hash.Hash
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err == nil && s.ctx.Err() != nil {
		s.err = fault.New(fault.Canceled, "%w", s.ctx.Err())
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.sum.Write(p[:n])
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// bounded writes until the copies of all shards have taken what they may.
type bounded struct {
	w    io.Writer
	left interface{ Add(int64) int64 }
	full bool
	err  error
}

var errFull = errors.New("no more may be written")

func (b *bounded) Write(p []byte) (int, error) {
	if b.left.Add(-int64(len(p))) < 0 {
		b.full = true
		return 0, errFull
	}
	n, err := b.w.Write(p)
	b.err = err
	return n, err
}

// copyOf returns the path of the unpacked copy of a shard, and whether it is whole.
func (b *builder) copyOf(x *Index) (path string, whole bool) {
	path = fileOf(b.Folder, x.name, x.Version, copyEnding)
	info, err := os.Stat(path)
	return path, err == nil && info.Mode().IsRegular() && info.Size() == x.Unpacked
}

// mendCopy makes the copy of a compressed shard whose index was kept, unless it is there.
func (b *builder) mendCopy(ctx context.Context, x *Index) error {
	if x.Packed == "" {
		return nil
	}
	if path, whole := b.copyOf(x); whole {
		b.left.Add(-x.Unpacked)
		now := time.Now()
		_ = os.Chtimes(path, now, now) // it is in use
		return nil
	}
	obj, end, err := b.open(ctx, x)
	if err != nil {
		return err
	}
	defer end()
	f, err := b.unpack(ctx, obj, &Index{name: x.name, about: about{Shard: x.Shard, Version: x.Version, Packed: x.Packed}})
	if err != nil {
		return err
	}
	return f.Close()
}

// clean removes copies of other sets, those first that were not used for longest, until all copies together fit in
// UnpackedBytes. Whoever has one open keeps it.
func (b *builder) clean(mine []*Index) {
	if b.Folder == "" {
		return
	}
	used := map[string]bool{}
	for _, x := range mine {
		if x.Packed != "" {
			path, _ := b.copyOf(x)
			used[path] = true
		}
	}
	if len(used) == 0 {
		return
	}
	names, err := filepath.Glob(filepath.Join(strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(b.Folder), "*"+copyEnding))
	if err != nil {
		return
	}
	type copied struct {
		path string
		size int64
		time time.Time
	}
	var others []copied
	var total int64
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			continue
		}
		total += info.Size()
		if !used[name] {
			others = append(others, copied{name, info.Size(), info.ModTime()})
		}
	}
	slices.SortFunc(others, func(a, b copied) int { return a.time.Compare(b.time) })
	for _, c := range others {
		if total <= b.UnpackedBytes {
			break
		}
		if os.Remove(c.path) == nil {
			total -= c.size
		}
	}
}
