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
		return nil, err
	}
	return b, nil
}

func (d *datasetClient) batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	d.mu.Lock()
	side, info := d.side, d.info
	d.mu.Unlock()
	use := d.conn.lease()
	request := &pb.BatchRequest{Epoch: int64(q.Epoch), Train: q.Train, NoImages: q.NoImages, Indices: make([]int64, len(q.Indices))}
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
	if q.Into != nil && (q.Into.DType != tensor.U8 || !q.Into.Shape.Equal(shape)) {
		return nil, fault.New(fault.Invalid, "the place for the pictures is %v %v, want u8 %v", q.Into.DType, q.Into.Shape,
			shape).WithPlugin(d.conn.name)
	}
	// The pictures go to Into when a plugin can see it, else to a slot of their own.
	out := q.Into
	var err error
	if s, ok := sharedIn(d.conn.arena, q.Into); ok {
		s.retain()
		d.conn.arena.setWriter(s, d.conn.name)
		use.slots = append(use.slots, s)
		request.Out = slotReference(q.Into, s)
	} else if request.Out, out, err = use.out(tensor.U8, shape...); err != nil {
		return nil, err
	}
	r, err := call(ctx, use, "Batch", d.rpc.Batch, request)
	if err == nil {
		var images *tensor.Tensor
		if err = d.conn.checkBatch(r, q, info); err == nil {
			images, err = d.conn.result("Batch", "pictures", r.Images, request.Out, out, tensor.U8, shape...)
		}
		if err == nil {
			batch := batchIn(r)
			batch.Images = images
			if q.Into != nil && images != q.Into {
				copy(q.Into.Data, images.Data)
				images.Free()
				batch.Images = q.Into
			}
			return batch, nil
		}
	}
	if out != q.Into {
		out.Free()
	}
	return nil, err
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
