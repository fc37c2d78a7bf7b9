package wire

import (
	"context"
	"fmt"
	"sync"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

// DatasetClient returns the dataset at the other end of a connection.
func DatasetClient(c *Conn) clip.Dataset {
	return &datasetClient{conn: c, rpc: pb.NewDatasetClient(c.rpc)}
}

type datasetClient struct {
	conn  *Conn
	rpc   pb.DatasetClient
	mu    sync.Mutex
	side  int
	info  clip.DatasetInfo
	reads map[reading]int
	close sync.Once
}

func (d *datasetClient) Configure(ctx context.Context, cfg clip.DatasetConfig) (clip.DatasetInfo, error) {
	d.mu.Lock()
	d.side = cfg.ImageSize
	d.mu.Unlock()
	r, err := call(ctx, d.conn.lease(), "Configure", d.rpc.Configure, datasetConfigOut(cfg))
	if err != nil {
		return clip.DatasetInfo{}, err
	}
	if err := d.conn.datasetInfo(r); err != nil {
		return clip.DatasetInfo{}, err
	}
	info := datasetInfoIn(r)
	d.mu.Lock()
	d.info = info
	d.mu.Unlock()
	return info, nil
}

// Batch asks for samples, and now and then for one of them once more (readAgain).
func (d *datasetClient) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	b, err := d.batch(ctx, q)
	if err != nil {
		return nil, err
	}
	if err := d.readAgain(ctx, q, b); err != nil {
		if b.Images != q.Into {
			b.Images.Free()
		}
		if b.Images2 != q.Into2 {
			b.Images2.Free()
		}
		return nil, err
	}
	return b, nil
}

func (d *datasetClient) batch(ctx context.Context, q clip.BatchRequest) (_ *clip.Batch, err error) {
	d.mu.Lock()
	side, info := d.side, d.info
	d.mu.Unlock()
	if q.Negatives || q.View2 {
		if err := d.conn.needVersion2("negatives and second views"); err != nil {
			return nil, err
		}
	}
	use := d.conn.lease()
	request := &pb.BatchRequest{Epoch: int64(q.Epoch), Train: q.Train, NoImages: q.NoImages, Negatives: q.Negatives,
		View2: q.View2 && !q.NoImages, Sizes: q.Sizes, Indices: make([]int64, len(q.Indices))}
	for i, index := range q.Indices {
		request.Indices[i] = int64(index)
	}
	if q.NoImages {
		r, err := call(ctx, use, "Batch", d.rpc.Batch, request)
		if err != nil {
			return nil, err
		}
		if err := d.conn.checkBatch(r, q, info); err != nil {
			return nil, err
		}
		return batchIn(r), nil // pictures that came all the same are left
	}
	shape := []int{len(q.Indices), side, side, 3}
	first, second := picturePlace{asked: q.Into}, picturePlace{asked: q.Into2}
	defer func() {
		if err != nil {
			use.release() // nothing is left in it when the call was made
			first.free()
			second.free()
		}
	}()
	if request.Out, err = first.prepare(d.conn, use, shape); err != nil {
		return nil, err
	}
	if q.View2 {
		if request.Out2, err = second.prepare(d.conn, use, shape); err != nil {
			return nil, err
		}
	}
	r, err := call(ctx, use, "Batch", d.rpc.Batch, request)
	if err != nil {
		return nil, err
	}
	if err = d.conn.checkBatch(r, q, info); err != nil {
		return nil, err
	}
	batch := batchIn(r)
	if batch.Images, err = first.take(d.conn, "pictures", r.Images, request.Out, shape); err != nil {
		return nil, err
	}
	if q.View2 {
		batch.Images2, err = second.take(d.conn, "second pictures", r.Images2, request.Out2, shape)
	}
	return batch, err
}

// picturePlace leads the pictures of an answer to where the caller asked for them: straight there when the plugin can see
// the memory, else through a slot.
type picturePlace struct{ asked, out *tensor.Tensor }

func (p *picturePlace) prepare(c *Conn, use *lease, shape []int) (m *pb.Tensor, err error) {
	if p.asked != nil && (p.asked.DType != tensor.U8 || !p.asked.Shape.Equal(shape)) {
		return nil, fault.New(fault.Invalid, "the place for the pictures is %v %v, want u8 %v", p.asked.DType, p.asked.Shape,
			shape).WithPlugin(c.name)
	}
	p.out = p.asked
	if s, ok := sharedIn(c.arena, p.asked); ok {
		s.retain()
		c.arena.setWriter(s, c.name)
		use.slots = append(use.slots, s)
		return slotReference(p.asked, s), nil
	}
	m, p.out, err = use.out(tensor.U8, shape...)
	return m, err
}

// take returns the pictures of an answer, in the tensor that was asked for if there is one.
func (p *picturePlace) take(c *Conn, what string, m, asked *pb.Tensor, shape []int) (*tensor.Tensor, error) {
	images, err := c.result("Batch", what, m, asked, p.out, tensor.U8, shape...)
	if err != nil {
		return nil, err
	}
	p.out = images
	if p.asked != nil && images != p.asked {
		copy(p.asked.Data, images.Data)
		p.free()
		return p.asked, nil
	}
	return images, nil
}

func (p *picturePlace) free() {
	if p.out != p.asked {
		p.out.Free()
	}
	p.out = nil
}

func (d *datasetClient) Captions(ctx context.Context, limit int) ([]string, error) {
	r, err := call(ctx, d.conn.lease(), "Captions", d.rpc.Captions, &pb.CaptionsRequest{Limit: int64(limit)})
	if err != nil {
		return nil, err
	}
	k := d.conn.checker("Captions")
	k.require(limit == 0 || len(r.Captions) <= limit, "%d captions, at most %d were asked for", len(r.Captions), limit)
	for i, text := range r.Captions {
		k.text(fmt.Sprintf("caption %d", i), text, maxCaption)
	}
	return r.Captions, k.err
}

func (d *datasetClient) Close() error { return closeOnce(&d.close, d.conn, d.rpc.Close) }
