//go:build clipcuda

package driver

// #include <stdlib.h>
// #include "libraries.h"
import "C"

import (
	"fmt"
	"unsafe"

	"tandem/core/fault"
)

// Comm holds one rank's part in a group of GPUs, one for each rank, that add arrays up by NCCL.
type Comm struct {
	c      *Context
	s      *Stream
	handle C.uintptr_t
}

// NCCLID returns what names a new group: 128 bytes that all its ranks are to be given. The process must live until all have joined.
// Without the library it is Unavailable; TANDEM_NCCL may name its file or folder.
func NCCLID() ([]byte, error) {
	if err := findNCCL(); err != nil {
		return nil, err
	}
	var id [C.TANDEM_NCCL_ID]C.char
	if code := int(C.tandem_nccl_id(&id[0])); code != 0 {
		return nil, ncclStatus(code).WithOp("ncclGetUniqueId")
	}
	return C.GoBytes(unsafe.Pointer(&id[0]), C.TANDEM_NCCL_ID), nil
}

// JoinNCCL makes this process rank of the size ranks of a group, whose sums go to s. It waits for all of them.
func (c *Context) JoinNCCL(s *Stream, id []byte, rank, size int) (*Comm, error) {
	if len(id) != C.TANDEM_NCCL_ID || rank < 0 || rank >= size {
		return nil, fault.New(fault.Invalid, "rank %d of %d with an id of %d bytes, want %d", rank, size, len(id), C.TANDEM_NCCL_ID).WithOp(c.op("ncclCommInitRank"))
	}
	if err := findNCCL(); err != nil {
		return nil, err
	}
	m := &Comm{c: c, s: s}
	bytes := C.CBytes(id)
	defer C.free(bytes)
	if err := c.library("ncclCommInitRank", func() C.int {
		return C.tandem_nccl_join(&m.handle, C.int(size), (*C.char)(bytes), C.int(rank))
	}, ncclStatus); err != nil {
		return nil, err
	}
	return m, nil
}

// Sum enqueues the sum over all ranks of n values of float32 at p, in place. Every rank must call it, and all get the same bits.
func (m *Comm) Sum(p Ptr, n int) error {
	m.s.note(launched{name: "ncclAllReduce"})
	return m.s.blame(m.c.library("ncclAllReduce", func() C.int {
		return C.tandem_nccl_sum(m.handle, C.uintptr_t(p), C.size_t(n), handleOf(m.s.s))
	}, ncclStatus))
}

// Destroy leaves the group, once its sums are done.
func (m *Comm) Destroy() error {
	return m.c.library("ncclCommDestroy", func() C.int { return C.tandem_nccl_leave(m.handle) }, ncclStatus)
}

var ncclFile string

// findNCCL opens the library.
func findNCCL() error {
	libraries.Lock()
	defer libraries.Unlock()
	if ncclFile != "" {
		return nil
	}
	file, err := nccl().open(func(path *C.char) *C.char { return C.tandem_nccl_open(path) })
	if err == nil {
		ncclFile = file
	}
	return err
}

// NCCLVersion returns the version of the library that is open, as "2.23.4"; "" when none is.
func NCCLVersion() string {
	var v C.int
	if C.tandem_nccl_version(&v) != 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", v/10000, v%10000/100, v%100)
}

// ncclStatus makes an error of a ncclResult_t, with what NCCL says of it.
func ncclStatus(code int) *fault.Error {
	name, ok := map[int]string{-1: "the library has no such entry", 1: "ncclUnhandledCudaError", 2: "ncclSystemError", 3: "ncclInternalError",
		4: "ncclInvalidArgument", 5: "ncclInvalidUsage", 6: "ncclRemoteError", 8: "ncclTimeout"}[code]
	if !ok {
		name = fmt.Sprintf("NCCL status %d", code)
	}
	if said := C.GoString(C.tandem_nccl_said()); said != "" && code != -1 {
		name += ": " + said
	}
	switch code {
	case -1:
		return fault.New(fault.Unavailable, "%s", name).WithHint("use a newer NCCL: TANDEM_NCCL may name its file or folder")
	case 2, 6:
		return fault.New(fault.Unavailable, "%s", name).
			WithHint("the ranks cannot reach each other: NCCL_SOCKET_IFNAME may name the network to use, NCCL_DEBUG=WARN says more")
	case 5:
		return fault.New(fault.Invalid, "%s", name).
			WithHint("NCCL wants a GPU of its own for every rank (srun --gpus-per-task=1, or CUDA_VISIBLE_DEVICES), and one version on all; TANDEM_NCCL may name its file or folder")
	}
	return fault.New(fault.Internal, "%s", name)
}
