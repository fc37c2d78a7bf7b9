package tower

import (
	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/program"
	"tandem/core/tensor"
)

// intake copies the pictures of requests to the backend, and those of a later request while it computes. Hardware
// that can reads them from shared memory by itself.
type intake struct {
	session *program.Session
	ahead   device.Buffer // pictures of a later request; nil: none yet
	id      uint64        // of that request; 0: nothing is there
}

// pictures sets the input of an instance to those of a request and begins to fetch the next. The order
// matters: what is fetched comes after the copy out of the same place, and beside the pass that follows.
func (in *intake) pictures(i *graph.Instance, req clip.ForwardRequest) {
	to := i.Input(inputName)
	if to == nil {
		return
	}
	if req.ID != 0 && req.ID == in.id && in.ahead.Len() == to.Len() {
		in.session.Backend.(device.Prefetcher).Join()
		in.session.Backend.Copy(to, in.ahead)
		in.id = 0
	} else {
		in.session.Share(req.Images)
		in.session.Backend.Write(to, req.Images.U8())
	}
	if req.Next != nil && req.NextID != 0 {
		in.fetch(req.Next, req.NextID)
	}
}

// fetch begins to copy the pictures of a later request. What hinders it costs time only.
func (in *intake) fetch(next *tensor.Tensor, id uint64) {
	p, ok := in.session.Backend.(device.Prefetcher)
	if !ok || next.DType != tensor.U8 {
		return
	}
	in.session.Share(next)
	values := next.U8()
	if in.ahead == nil || in.ahead.Len() != len(values) {
		in.drop()
		var err error
		if in.ahead, err = in.session.Backend.Alloc(device.U8, len(values)); err != nil {
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
	in.session.Backend.(device.Prefetcher).Join()
	in.session.Backend.Free(in.ahead)
	in.ahead, in.id = nil, 0
}
