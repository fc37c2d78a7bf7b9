package object

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"

	"tandem/core/data/object/block"
	"tandem/core/data/object/remote"
	"tandem/core/fault"
)

// A far object is read in blocks of blockBytes. Where one block is read behind another, the next aheadBlocks are fetched
// meanwhile, at most aheadMost by all objects of a Store.
const (
	blockBytes  = 8 << 20
	aheadBlocks = 3
	aheadMost   = 6
)

// far is an object of another machine.
type far struct {
	s       *Store
	name    string
	at      *url.URL
	info    remote.Info
	version string
	key     string // of its blocks

	mu      sync.Mutex
	touched [4]int // the blocks read last, plus 1
}

func (s *Store) openFar(ctx context.Context, name string) (Object, error) {
	u, err := remote.Parse(name)
	if err != nil {
		return nil, err
	}
	ctx, end := s.join(ctx)
	defer end()
	known, ok := s.known.Load(name)
	info, _ := known.(remote.Info)
	if !ok {
		if info, err = s.client.Stat(ctx, u); err != nil {
			return nil, err
		}
		s.known.Store(name, info)
	}
	o := &far{s: s, name: name, at: u, info: info, version: info.Version}
	tag := info.Version
	if tag == "" { // nothing tells when it changes: it is fetched again by each process
		o.version = fmt.Sprintf("%d bytes", info.Size)
		tag = fmt.Sprintf("%d bytes, process %d", info.Size, os.Getpid())
		s.unversioned.Do(func() {
			say(remote.Display(u) + ": the server gives neither ETag nor Last-Modified, so a change of the object with the same length is not noticed, and it is not kept for later runs")
		})
	}
	// Objects of one name on two servers differ.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%d", os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), u.String()+"\n"+tag, info.Size))
	o.key = hex.EncodeToString(sum[:16])
	if info.Size < 0 {
		b, err := o.whole(ctx)
		if err != nil {
			return nil, err
		}
		o.info.Size = b.Size()
		b.Release()
		if info.Version == "" {
			o.version = fmt.Sprintf("%d bytes", o.info.Size)
		}
	}
	return o, nil
}

func (s *Store) listFar(ctx context.Context, pattern string) ([]string, error) {
	ctx, end := s.join(ctx)
	defer end()
	return s.client.List(ctx, pattern)
}

func (o *far) Name() string    { return o.name }
func (o *far) Size() int64     { return o.info.Size }
func (o *far) Version() string { return o.version }

// Close lets the object's blocks stay for others.
func (o *far) Close() error { return nil }

// ReadAt reads as io.ReaderAt says. It ends with the Store.
func (o *far) ReadAt(p []byte, off int64) (int, error) {
	return o.ReadAtContext(o.s.ctx, p, off)
}

// ReadAtContext does what ReadAt does, and ends with ctx too.
func (o *far) ReadAtContext(ctx context.Context, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fault.New(fault.Invalid, "a read at %d", off).WithFile(remote.Display(o.at), 0, 0)
	}
	for n < len(p) {
		if off >= o.info.Size {
			return n, io.EOF
		}
		got, err := o.readPart(ctx, p[n:], off)
		n, off = n+got, off+int64(got)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readPart reads from one block.
func (o *far) readPart(ctx context.Context, p []byte, off int64) (int, error) {
	var b *block.Block
	var err error
	start := int64(0)
	if o.info.Ranges {
		i := int(off / blockBytes)
		start = int64(i) * blockBytes
		b, err = o.s.cache.Get(ctx, block.Key{Object: o.key, Index: i}, o.length(i), o.filler(i))
		if err == nil {
			o.readAhead(i)
		}
	} else {
		b, err = o.whole(ctx)
	}
	if err != nil {
		return 0, err
	}
	defer b.Release()
	n, err := b.ReadAt(p[:min(int64(len(p)), start+b.Size()-off)], off-start)
	if err == io.EOF {
		err = nil
	}
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (o *far) whole(ctx context.Context) (*block.Block, error) {
	return o.s.cache.Get(ctx, block.Key{Object: o.key, Index: -1}, o.info.Size, func(ctx context.Context, w io.Writer) error {
		return o.s.client.Read(ctx, o.at, o.info, 0, o.info.Size, w)
	})
}

// length returns the length of a block.
func (o *far) length(i int) int64 {
	return min(blockBytes, o.info.Size-int64(i)*blockBytes)
}

func (o *far) filler(i int) block.Fill {
	return func(ctx context.Context, w io.Writer) error {
		return o.s.client.Read(ctx, o.at, o.info, int64(i)*blockBytes, o.length(i), w)
	}
}

// readAhead fetches what follows block i, when it was read behind the one before.
func (o *far) readAhead(i int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	follows := false
	for _, t := range o.touched {
		if t == i+1 {
			return // nothing new
		}
		follows = follows || t == i
	}
	copy(o.touched[1:], o.touched[:3])
	o.touched[0] = i + 1
	if i == 0 || !follows {
		return
	}
	for next := i + 1; next <= i+aheadBlocks && int64(next)*blockBytes < o.info.Size; next++ {
		select {
		case o.s.ahead <- struct{}{}:
		default:
			return // enough is on its way
		}
		if !o.s.cache.Ahead(block.Key{Object: o.key, Index: next}, o.length(next), o.filler(next), func() { <-o.s.ahead }) {
			<-o.s.ahead
		}
	}
}
