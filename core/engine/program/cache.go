package program

import (
	"slices"

	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/fault"
)

// maxIdleBytes limits the activations that a cache keeps for later passes, beside those of the program that ran
// last.
const maxIdleBytes = 1 << 30

// A Cache compiles a program for each key (mode, batch size, …) when it is first needed, and keeps it with the sets
// of activations that no pass uses at present. When it is full it closes the program that was unused for longest.
//
// X is what the owner keeps with each program, such as the inputs that it fills.
type Cache[K comparable, X any] struct {
	backend   device.Backend
	limit     int
	build     func(K) (Source[X], error)
	workspace *graph.Workspace
	more      []*graph.Workspace // of instances that run together
	byKey     map[K]*Program[K, X]
	clock     uint64 // counts calls of Get
	profile   func(graph.Event)
}

// Source describes what a program is compiled from. The cache sets Workspace and Profile of Options.
type Source[X any] struct {
	Graph   *graph.Graph
	Options graph.CompileOptions
	Extra   X
}

// A Program is a compiled graph with its idle activations.
type Program[K comparable, X any] struct {
	*graph.Program
	Key   K
	Extra X

	idle []*graph.Instance
	busy int    // instances taken
	used uint64 // the cache's clock when it was last asked for
}

// NewCache returns an empty cache for at most limit programs. build makes the graph of a key; it is called again when
// the key's program was closed in between. The backend may be nil for a cache that only plans.
func NewCache[K comparable, X any](backend device.Backend, limit int, build func(K) (Source[X], error)) *Cache[K, X] {
	return &Cache[K, X]{backend: backend, limit: limit, build: build,
		workspace: graph.NewWorkspace(backend), byKey: map[K]*Program[K, X]{}}
}

// Get returns the program of a key, and compiles it when there is none yet.
func (c *Cache[K, X]) Get(k K) (*Program[K, X], error) {
	c.clock++
	if p := c.byKey[k]; p != nil {
		p.used = c.clock
		return p, nil
	}
	c.evict()
	source, err := c.build(k)
	if err != nil {
		return nil, err
	}
	source.Options.Workspace, source.Options.Profile = c.workspace, c.profile
	compiled, err := graph.Compile(source.Graph, c.backend, source.Options)
	if err != nil {
		return nil, err
	}
	p := &Program[K, X]{Program: compiled, Key: k, Extra: source.Extra, used: c.clock}
	c.byKey[k] = p
	return p, nil
}

// Plan returns the memory that a key's program would need on a backend, which may be nil (graph.Plan). It compiles
// nothing.
func (c *Cache[K, X]) Plan(b device.Backend, k K) (graph.MemoryPlan, error) {
	source, err := c.build(k)
	if err != nil {
		return graph.MemoryPlan{}, err
	}
	return graph.Plan(source.Graph, b, source.Options)
}

// Take returns activations of a program that no pass uses. The caller gives them back with Give.
func (c *Cache[K, X]) Take(p *Program[K, X]) (*graph.Instance, error) {
	if n := len(p.idle); n > 0 {
		i := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.busy++
		return i, nil
	}
	i, err := p.NewInstance()
	if err != nil {
		c.trim(nil, 0) // what is idle may be what is missing
		if i, err = p.NewInstance(); err != nil {
			return nil, err
		}
	}
	p.busy++
	return i, nil
}

// TakeTogether returns n sets of activations, for passes that run together: each has a workspace of its own.
func (c *Cache[K, X]) TakeTogether(p *Program[K, X], n int) (list []*graph.Instance, err error) {
	for len(c.more) < n-1 {
		c.more = append(c.more, graph.NewWorkspace(c.backend))
	}
	for k := range n {
		i, err := c.Take(p)
		if err != nil {
			c.GiveTogether(p, list)
			return nil, err
		}
		if k > 0 {
			i.Use(c.more[k-1])
		} else {
			i.Use(c.workspace)
		}
		list = append(list, i)
	}
	return list, nil
}

// GiveTogether returns activations for later use, so that TakeTogether gives each the workspace that it has.
func (c *Cache[K, X]) GiveTogether(p *Program[K, X], list []*graph.Instance) {
	for _, i := range slices.Backward(list) {
		c.Give(p, i)
	}
}

// Give returns activations for later use.
func (c *Cache[K, X]) Give(p *Program[K, X], i *graph.Instance) {
	p.busy--
	p.idle = append(p.idle, i)
	c.trim(p, maxIdleBytes)
}

// Run runs a pass. When the device's memory does not suffice, it frees what is only kept for later, here and by
// freeMore, and runs the pass once more.
func (c *Cache[K, X]) Run(pass func() error, freeMore func()) error {
	err := pass()
	if fault.KindOf(err) != fault.Exhausted || device.Err(c.backend) != nil {
		return err
	}
	c.trim(nil, 0)
	freeMore()
	return pass()
}

// trim frees idle activations of programs other than keep, those unused for longest first, until the rest takes at
// most limit bytes.
func (c *Cache[K, X]) trim(keep *Program[K, X], limit int64) {
	for {
		var oldest *Program[K, X]
		var idle int64
		for _, p := range c.byKey {
			if p == keep || len(p.idle) == 0 {
				continue
			}
			idle += int64(len(p.idle)) * p.Memory().Activations
			if oldest == nil || p.used < oldest.used {
				oldest = p
			}
		}
		if oldest == nil || idle <= limit {
			return
		}
		oldest.closeIdle()
	}
}

// evict closes programs until there is room for one more. Programs whose activations are in use stay.
func (c *Cache[K, X]) evict() {
	for len(c.byKey) >= c.limit {
		var oldest *Program[K, X]
		for _, p := range c.byKey {
			if p.busy == 0 && (oldest == nil || p.used < oldest.used) {
				oldest = p
			}
		}
		if oldest == nil {
			return
		}
		oldest.close()
		delete(c.byKey, oldest.Key)
	}
}

// SetProfile calls f after every kernel of every program from now on; nil ends it.
func (c *Cache[K, X]) SetProfile(f func(graph.Event)) {
	c.profile = f
	for _, p := range c.byKey {
		p.SetProfile(f)
	}
}

// Memory adds up what the programs have allocated, in bytes: activations in use and idle, workspaces, and constants.
func (c *Cache[K, X]) Memory() (activations, workspace, constants int64) {
	for _, p := range c.byKey {
		plan := p.Memory()
		constants += plan.Constants
		activations += int64(p.busy+len(p.idle)) * plan.Activations
	}
	workspace = c.workspace.Bytes()
	for _, w := range c.more {
		workspace += w.Bytes()
	}
	return activations, workspace, constants
}

// Close frees every program and the workspace. No activations may be in use.
func (c *Cache[K, X]) Close() {
	for _, p := range c.byKey {
		p.close()
	}
	c.byKey = nil
	c.workspace.Close()
	for _, w := range c.more {
		w.Close()
	}
}

func (p *Program[K, X]) closeIdle() {
	for _, i := range p.idle {
		i.Close()
	}
	p.idle = nil
}

func (p *Program[K, X]) close() {
	p.closeIdle()
	p.Program.Close()
}
