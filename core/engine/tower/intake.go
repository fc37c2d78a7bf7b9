package tower

import (
	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/tensor"
)

// intake brings tensors of requests to the backend: from shared memory that hardware reads by itself where
// the backend can, and pictures of a later request while it computes.
type intake struct {
	backend device.Backend
	known   map[*byte]bool // pages that were shown to the backend
	ahead   device.Buffer  // pictures of a later request; nil: none yet
	id      uint64         // of that request; 0: nothing is there
}

func newIntake(b device.Backend) *intake { return &intake{backend: b, known: map[*byte]bool{}} }

// share shows the backend the memory of a tensor, once.
func (in *intake) share(t *tensor.Tensor) {
	s, ok := in.backend.(device.HostSharer)
	if !ok || t == nil || len(t.Pages) == 0 || in.known[&t.Pages[0]] {
		return
	}
	in.known[&t.Pages[0]] = true
	_ = s.ShareHost(t.Pages) // refused, it is copied once more
}

// pictures sets the input of an instance to those of a request and begins to fetch the next. The order
// matters: what is fetched comes after the copy out of the same place, and beside the pass that follows.
func (in *intake) pictures(i *graph.Instance, req clip.ForwardRequest) {
	to := i.Input(inputName)
	if to == nil {
		return
	}
	if req.ID != 0 && req.ID == in.id && in.ahead.Len() == to.Len() {
		in.backend.(device.Prefetcher).Join()
		in.backend.Copy(to, in.ahead)
		in.id = 0
	} else {
		in.share(req.Images)
		in.backend.Write(to, req.Images.U8())
	}
	if req.Next != nil && req.NextID != 0 {
		in.fetch(req.Next, req.NextID)
	}
}

// fetch begins to copy the pictures of a later request. What hinders it costs time only.
func (in *intake) fetch(next *tensor.Tensor, id uint64) {
	p, ok := in.backend.(device.Prefetcher)
	if !ok || next.DType != tensor.U8 {
		return
	}
	in.share(next)
	values := next.U8()
	if in.ahead == nil || in.ahead.Len() != len(values) {
		in.drop()
		var err error
		if in.ahead, err = in.backend.Alloc(device.U8, len(values)); err != nil {
			in.ahead = nil
			return
		}
	}
	in.id = 0
	if p.Prefetch(in.ahead, values) {
		in.id = id
	}
}

// drop gives the memory of pictures fetched ahead back.
func (in *intake) drop() {
	if in.ahead == nil {
		return
	}
	in.backend.(device.Prefetcher).Join()
	in.backend.Free(in.ahead)
	in.ahead, in.id = nil, 0
}
