package shard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"tandem/core/data/object"
	"tandem/core/fault"
	"tandem/core/files"
)

// How much of a shard is read at a time: everything in large pieces where the shard is read as a whole, or is far away;
// otherwise little, because what lies between headers and texts is not looked at.
const (
	wholeWindow = 1 << 20
	smallWindow = 16 << 10
)

// build looks through a shard. It returns its index, which it also keeps.
func (b *builder) build(ctx context.Context, known *Index) (*Index, error) {
	obj, end, err := b.open(ctx, known)
	if err != nil {
		return nil, err
	}
	defer end()
	x := &Index{name: known.name, far: known.far, about: about{Shard: known.Shard, Size: obj.Size(), Version: obj.Version(), Wanted: known.Wanted}}
	far := object.IsAddress(x.name)
	began := time.Now()
	var tar io.ReaderAt = obj
	size, window := obj.Size(), smallWindow
	if far || b.whole {
		window = wholeWindow
	}
	var sum hash.Hash
	if b.whole && !far {
		sum = sha256.New()
	}
	head := make([]byte, min(block, size))
	if _, err := object.ReadAt(ctx, obj, head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if x.Packed = packing(head); x.Packed != "" {
		copied, err := b.unpack(ctx, obj, x)
		if err != nil {
			return nil, err
		}
		if b.Folder == "" {
			x.copied = copied
		} else {
			defer copied.Close()
		}
		tar, size, window, sum = copied, x.Unpacked, wholeWindow, nil // unpack has made the sum
	}
	c := newCursor(ending{ctx, tar}, size, window, sum)
	if err := b.gather(ctx, x, c); err != nil {
		return nil, err
	}
	if err := c.finish(); err != nil {
		return nil, err
	}
	if sum != nil {
		x.Sum = hex.EncodeToString(sum.Sum(nil))
	}
	x.seal(&b.Wanted)
	if !far && !b.unchanged(ctx, x) {
		return nil, fault.New(fault.Conflict, "the shard is being written").WithFile(x.Shard, 0, 0).WithHint("start again when it is complete")
	}
	if b.Folder != "" && (far || isSettled(x.name, began)) {
		if err := x.write(fileOf(b.Folder, x.name, x.Wanted, indexEnding)); err != nil {
			x.Notes = append(x.Notes, fmt.Sprintf("has an index that cannot be kept: %v", err))
		}
	}
	return x, nil
}

// ending reads until ctx ends.
type ending struct {
	ctx  context.Context
	from io.ReaderAt
}

// ReadAt implements io.ReaderAt.
func (e ending) ReadAt(p []byte, offset int64) (int, error) { return readAt(e.ctx, e.from, p, offset) }

// gather fills an index with the records of a tar file.
func (b *builder) gather(ctx context.Context, x *Index, c *cursor) error {
	var buffer []byte
	g := newGatherer(&b.Wanted, x, func(m member) (_ []byte, err error) {
		buffer, err = c.bytes(buffer, m.offset, m.size)
		return buffer, err
	})
	notes, err := walk(ctx, c, g.add, func(name, what string) {
		g.finish()
		x.flaw(reasonShard, name, what)
	})
	if err != nil {
		return err
	}
	g.finish()
	x.Notes = append(x.Notes, notes...)
	if g.pass.N > 0 {
		x.Notes = append(x.Notes, fmt.Sprintf("has members that are no files and are passed over: %d, the first: %s", g.pass.N, fault.PrintableLine(g.pass.First)))
	}
	return nil
}

// unchanged reports whether the shard is the one that was opened.
func (b *builder) unchanged(ctx context.Context, x *Index) bool {
	obj, err := b.store.Open(ctx, x.name)
	if err != nil {
		return true // what happens to it now is found when it is read
	}
	defer obj.Close()
	return obj.Size() == x.Size && obj.Version() == x.Version
}

// isSettled reports whether a file had not changed for a while when it was opened: within the resolution of the clock of a
// file system a file can be written twice with the same version.
func isSettled(path string, began time.Time) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	stamp := files.StampOf(info)
	return max(stamp.MTime, stamp.CTime) < began.Add(-settleTime).UnixNano()
}
