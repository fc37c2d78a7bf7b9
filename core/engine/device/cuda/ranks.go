//go:build clipcuda

package cuda

import (
	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/fault"
)

var _ device.Communicator = (*Backend)(nil)

// GroupID returns what names a new group of ranks (driver.NCCLID).
func GroupID() ([]byte, error) { return driver.NCCLID() }

// JoinRanks implements device.Communicator by NCCL.
func (b *Backend) JoinRanks(id []byte, rank, size int) (err error) {
	if b.ranks != nil {
		return fault.New(fault.Conflict, "the GPU has joined a group already").WithOp(b.Name())
	}
	b.ranks, err = b.ctx.JoinNCCL(b.stream, id, rank, size)
	return err
}

// SumOverRanks implements device.Communicator. It panics before JoinRanks.
func (b *Backend) SumOverRanks(x device.Buffer) {
	if b.idle() || b.refuseInRecording("SumOverRanks") {
		return
	}
	buf := asBuffer(x)
	b.noteError(b.ranks.Sum(buf.at, buf.n))
}
