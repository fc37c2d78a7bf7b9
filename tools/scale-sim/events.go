package main

import "container/heap"

// happening is what an event is about.
type happening int

const (
	taskStarts  happening = iota // what: task; it has waited long enough and wants a slot
	taskAsks                     // what: task, which: its epoch; it looks for a trial again
	attemptEnds                  // what: task, which: its epoch
	ownerLooks                   // what: task, which: its epoch; it finds its trial taken over
	nodeFails                    // what: node
	nodeReturns                  // what: node
	nodeFreezes                  // what: node; its processes do nothing for a while
	nodeThaws                    // what: node
)

// event happens at a second of the simulation. Events of the same second keep the order in which they were planned.
type event struct {
	at          float64
	order       int
	kind        happening
	what, which int
}

type agenda struct {
	events  []event
	planned int
}

// plan adds an event.
func (a *agenda) plan(at float64, kind happening, what, which int) {
	a.planned++
	heap.Push((*eventHeap)(&a.events), event{at: at, order: a.planned, kind: kind, what: what, which: which})
}

// next takes the earliest event.
func (a *agenda) next() (event, bool) {
	if len(a.events) == 0 {
		return event{}, false
	}
	return heap.Pop((*eventHeap)(&a.events)).(event), true
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
