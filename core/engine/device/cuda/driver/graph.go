//go:build clipcuda

package driver

// #include "symbols.h"
import "C"

import (
	"runtime"

	"tandem/core/fault"
)

// Graph holds work that a stream was given once and can be given again by one call.
type Graph struct {
	c    *Context
	exec C.uintptr_t
}

// Capture makes a Graph of what f enqueues on the stream, and on others that wait for its events and are
// waited for again; nothing of it runs. f must not allocate, free, synchronise or query, nor leave its
// goroutine. Addresses and parameters are kept as they are. An error of f is returned as it is.
func (s *Stream) Capture(f func() error) (*Graph, error) {
	// A capture must end on the thread that began it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	stream := handleOf(s.s)
	if err := s.c.do("cuStreamBeginCapture", func() error { return result(C.tandem_begin_capture(stream)) }); err != nil {
		return nil, err
	}
	var graph C.uintptr_t
	s.capturing = true
	end := func() error {
		s.capturing = false
		return s.c.do("cuStreamEndCapture", func() error { return result(C.tandem_end_capture(stream, &graph)) })
	}
	defer func() {
		if s.capturing { // f panicked
			end()
		}
	}()
	failure := f()
	err := end()
	if err == nil && graph == 0 && failure == nil {
		err = fault.New(fault.Internal, "nothing was captured").WithOp(s.c.op("cuStreamEndCapture"))
	}
	g := &Graph{c: s.c}
	if graph != 0 {
		made := s.c.do("cuGraphInstantiate", func() error { return result(C.tandem_instantiate(graph, &g.exec)) })
		if err == nil {
			err = made
		}
	}
	if failure == nil && err == nil {
		return g, nil
	}
	if g.exec != 0 {
		g.Destroy()
	}
	if failure != nil {
		return nil, failure // which may have broken the capture too
	}
	return nil, s.blame(err)
}

// Launch enqueues the whole graph on a stream.
func (g *Graph) Launch(s *Stream) error {
	return s.blame(g.c.do("cuGraphLaunch", func() error { return result(C.tandem_graph_launch(g.exec, handleOf(s.s))) }))
}

// Destroy frees the graph, once it has run.
func (g *Graph) Destroy() error {
	return g.c.do("cuGraphExecDestroy", func() error { return result(C.tandem_graph_destroy(g.exec)) })
}
