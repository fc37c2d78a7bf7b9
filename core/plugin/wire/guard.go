package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"tandem/core/fault"
)

// Every plugin maps the whole arena for writing, so that one that computes an address wrongly writes over what is
// another's: silently wrong numbers, of which others are blamed. Two things find it at the end of a call. Headers
// before and canaries behind the slots in use are the runner's alone; and what a plugin is given to read is the same
// afterwards.

// canaryBytes counts the bytes of the canary behind the data of every slot.
const canaryBytes = 64

func canary(generation uint64) uint64 { return 0x7972616e61630000 ^ generation*0x9e3779b97f4a7c15 }

func (a *Arena) writeCanary(s *slot) {
	for at := uint64(0); at < canaryBytes; at += 8 {
		binary.LittleEndian.PutUint64(a.mem[s.offset+s.size+at:], canary(s.generation))
	}
}

// damage reports a slot whose surroundings were written over.
type damage struct {
	at            uint64 // of the slot's data
	before, after bool   // its header, its canary
	writer        string // the plugin that last was to write to it; "" when none was
}

// findDamage returns the damage of the slots in use, ordered by offset.
func (a *Arena) findDamage() []damage {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mem == nil {
		return nil
	}
	var out []damage
	for s := range a.live {
		h := a.mem[s.offset-headerBytes:]
		w := damage{at: s.offset, writer: s.writer}
		w.before = binary.LittleEndian.Uint64(h) != headerMagic || binary.LittleEndian.Uint64(h[8:]) != s.generation ||
			binary.LittleEndian.Uint64(h[16:]) != s.block-headerBytes
		for at := uint64(0); at < canaryBytes; at += 8 {
			w.after = w.after || binary.LittleEndian.Uint64(a.mem[s.offset+s.size+at:]) != canary(s.generation)
		}
		if w.before || w.after {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(x, y damage) int { return int(int64(x.at - y.at)) })
	return out
}

// activeCallers returns the plugins with a call under way, the caller's own among them.
func (a *Arena) activeCallers() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var names []string
	for name, n := range a.calls {
		if n > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (a *Arena) addCalls(name string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls[name] += n
}

// setWriter sets which plugin is to write to a slot.
func (a *Arena) setWriter(s *slot, writer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.writer = writer
}

// input remembers what a plugin is given to read.
type input struct {
	data []byte
	sum  uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers all of a small tensor, and 64 pages spread over a large one. That costs microseconds, and
// whoever writes over memory by mistake writes more than a page.
func checksum(data []byte) uint32 {
	const page, pages = 4 << 10, 64
	if len(data) <= page*pages {
		return crc32.Checksum(data, castagnoli)
	}
	sum, last := uint32(0), len(data)-page
	for i := range pages {
		at := last * i / (pages - 1)
		sum = crc32.Update(sum, castagnoli, data[at:at+page])
	}
	return sum
}

// checkGuards returns a fault when something was written outside the slots since the call that l belongs to
// began.
func (l *lease) checkGuards(method string) error {
	c := l.conn
	if c.arena == nil {
		return nil
	}
	if damages := c.arena.findDamage(); len(damages) > 0 {
		return c.damageFault(method, damages)
	}
	for _, in := range l.inputs {
		if checksum(in.data) != in.sum {
			return c.brokenRule(method, "it wrote over what it was given to read")
		}
	}
	return nil
}

// damageFault blames the plugin behind whose slot the damage begins, or, when there is damage only before one
// slot, the plugin of that slot. A plugin that has no call under way did not do it: the end of its last call found
// nothing. Otherwise it names all plugins that had a call under way.
func (c *Conn) damageFault(method string, damages []damage) error {
	first, name := damages[0], ""
	switch {
	case !first.before:
		name = first.writer
	case len(damages) == 1 && !first.after:
		name = first.writer
	}
	active := c.arena.activeCallers()
	if !slices.Contains(active, name) {
		name = ""
	}
	places := make([]string, len(damages))
	for i, w := range damages {
		var where []string
		if w.before {
			where = append(where, "before")
		}
		if w.after {
			where = append(where, "behind")
		}
		places[i] = fmt.Sprintf("%s slot %d", strings.Join(where, " and "), w.at)
	}
	if n := len(places); n > 4 {
		places = append(places[:4], fmt.Sprintf("%d more", n-4))
	}
	others := ""
	if name == "" {
		name = c.name
		if len(active) > 1 {
			others = "; it may have been another of " + strings.Join(active, ", ") + ", which computed at the same time"
		}
	}
	if name == c.name {
		return c.brokenRule(method, "it wrote outside its memory (%s)%s", strings.Join(places, ", "), others)
	}
	e := fault.New(fault.Internal, "it wrote outside its memory (%s), which was found after %s of %s", strings.Join(places, ", "), method, c.name).
		WithPlugin(name).WithHint("this is a bug in the plugin; docs/protocol.md has the rules")
	e.Err = ErrRule
	return e
}

// Stray returns how many bytes of memory the arena takes where nothing was ever given out: plugins wrote there
// by mistake. It is 0 where the system does not tell.
func (a *Arena) Stray() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return 0
	}
	return max(0, allocatedBytes(a.file)-int64(a.next))
}

// Allocated returns the memory that the arena's pages take, stray ones included.
func (a *Arena) Allocated() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return 0
	}
	return allocatedBytes(a.file)
}

// DropStray gives the memory that Stray counts back to the system.
func (a *Arena) DropStray() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at := a.next; !a.closed && at < uint64(len(a.mem)) {
		_ = punch(a.file, at, uint64(len(a.mem))-at) // where it cannot, the memory goes with the arena
	}
}
