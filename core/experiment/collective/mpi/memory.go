package mpi

import (
	"context"
	"fmt"
	"unsafe"

	"tandem/core/experiment/collective"
)

var _ collective.Sharer = (*group)(nil)

// card names the memory of a rank to the others. Two files of one machine have different devices or inodes.
type card struct {
	Host, Boot    string // of the machine
	PID, FD       int
	Device, Inode uint64
	Size          int64
	Lacks         string `json:",omitempty"` // why there is no memory
}

// nowhere is the place of values that are not in shared memory.
const nowhere = -1

// memory is what this rank has mapped, by rank; that of the own rank is its own.
type memory [][]byte

// Share implements collective.Sharer.
func (g *group) Share(ctx context.Context, mine collective.Memory) (why string, err error) {
	g.Unshare()
	cards, err := collective.GatherValues(ctx, g, cardOf(mine))
	if err != nil {
		return "", err
	}
	if why := apart(cards); why != "" {
		return why, nil
	}
	all := make(memory, g.size)
	failed := ""
	for r, c := range cards {
		if r == g.rank {
			all[r] = mine.Bytes
		} else if all[r], err = mapMemory(c); err != nil {
			failed = fmt.Sprintf("rank %d on %s cannot map the memory of rank %d: %v", g.rank, cards[g.rank].Host, r, err)
			break
		}
	}
	failures, err := collective.GatherValues(ctx, g, failed)
	for _, f := range failures {
		if why == "" {
			why = f
		}
	}
	if err != nil || why != "" {
		all.unmap(g.rank)
		return why, err
	}
	g.memory = all
	return "", nil
}

// Unshare implements collective.Sharer. After a call that was stopped it leaves everything as it is, since the call may go on.
func (g *group) Unshare() {
	if g.unusable() != nil {
		return
	}
	g.memory.unmap(g.rank)
	g.memory = nil
}

func cardOf(m collective.Memory) card {
	c := card{Host: collective.Host(), Size: int64(len(m.Bytes))}
	if m.File == nil {
		c.Lacks = "there is none"
	} else if err := c.identify(m.File); err != nil {
		c.Lacks = err.Error()
	}
	return c
}

// apart says why ranks with these cards cannot share memory; "" when nothing speaks against it.
func apart(cards []card) string {
	for r, c := range cards {
		if first := cards[0]; c.Host != first.Host || c.Boot != first.Boot && c.Lacks == "" && first.Lacks == "" {
			return fmt.Sprintf("rank %d on %s and rank 0 on %s are on different machines", r, c.Host, first.Host)
		}
	}
	for r, c := range cards {
		if c.Lacks != "" {
			return fmt.Sprintf("rank %d on %s has no shared memory: %s", r, c.Host, c.Lacks)
		}
	}
	return ""
}

func (m memory) unmap(own int) {
	for r, bytes := range m {
		if r != own && bytes != nil {
			unmap(bytes)
		}
	}
}

// find returns where in the memory of rank own values are, or nowhere.
func (m memory) find(own int, values []float32) int64 {
	if m == nil || len(values) == 0 {
		return nowhere
	}
	at := uintptr(unsafe.Pointer(&values[0])) - uintptr(unsafe.Pointer(unsafe.SliceData(m[own]))) // huge when it is in front
	if at >= uintptr(len(m[own])) {
		return nowhere
	}
	return int64(at)
}

// addresses returns the addresses here of all ranks' values of so many bytes, nil when some are not in shared memory.
func (m memory) addresses(greetings []greeting, bytes int) []uintptr {
	if m == nil {
		return nil
	}
	all := make([]uintptr, len(greetings))
	for r, said := range greetings {
		if said.place < 0 || said.place > int64(len(m[r])-bytes) {
			return nil
		}
		all[r] = uintptr(unsafe.Pointer(unsafe.SliceData(m[r]))) + uintptr(said.place)
	}
	return all
}
