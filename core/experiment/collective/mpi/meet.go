package mpi

import (
	"encoding/binary"

	"tandem/core/fault"
)

// call is what a rank is about to do.
type call int64

const (
	gathers call = iota
	gathersValues
	addsUp
	addsUpShares
	addsUpDoubles
	broadcasts
	waits
	leaves
)

var callNames = []string{"gathers bytes", "gathers values", "adds up values", "adds up values for shares", "adds up doubles", "broadcasts", "waits for all", "leaves"}

// A rank says hello with what it is about to do (call, how many calls before, length, place) and, where they are few, the bytes
// themselves, so that small exchanges take one message.
const (
	helloHead  = 4 * 8
	inline     = 4096
	helloBytes = helloHead + inline
)

// greeting is the hello of a rank.
type greeting struct {
	length int64
	place  int64  // in shared memory, or nowhere
	few    []byte // valid until ranks meet again
}

// meet returns when all ranks have made the same call. Ranks that make different calls all get the same error. sameLength: so
// they do when their lengths differ.
func (g *group) meet(c call, length int64, sameLength bool, few []byte) ([]greeting, error) {
	return g.meetAt(nowhere, c, length, sameLength, few)
}

// meetAt does what meet does, and says at which place the values are.
func (g *group) meetAt(place int64, c call, length int64, sameLength bool, few []byte) ([]greeting, error) {
	hello := g.hello[:helloHead+len(few)]
	for i, v := range []int64{int64(c), g.calls, length, place} {
		binary.LittleEndian.PutUint64(hello[8*i:], uint64(v))
	}
	copy(hello[helloHead:], few)
	for r := range g.size {
		g.to[r] = part{0, int64(len(hello))}
		g.from[r] = part{int64(r * helloBytes), helloBytes}
	}
	if err := g.exchange(hello, g.greetings, true); err != nil {
		return nil, err
	}
	copy(g.greetings[g.rank*helloBytes:], hello)
	all := make([]greeting, g.size)
	var first [4]int64
	for r := range all {
		text := g.greetings[r*helloBytes:][:helloBytes]
		var said [4]int64
		for i := range said {
			said[i] = int64(binary.LittleEndian.Uint64(text[8*i:]))
		}
		if r == 0 {
			first = said
		}
		switch {
		case said[0] != first[0] || said[1] != first[1]:
			return nil, fault.New(fault.Internal, "rank 0 %s in its call %d, rank %d %s in its call %d", name(first[0]), first[1], r, name(said[0]), said[1])
		case sameLength && said[2] != first[2]:
			return nil, fault.New(fault.Internal, "rank 0 %s of %d bytes, rank %d of %d", name(first[0]), first[2], r, said[2])
		}
		all[r] = greeting{said[2], said[3], text[helloHead:][:min(max(said[2], 0), inline)]}
	}
	return all, nil
}

func name(c int64) string {
	if c < 0 || int(c) >= len(callNames) {
		return "does something else"
	}
	return callNames[c]
}
