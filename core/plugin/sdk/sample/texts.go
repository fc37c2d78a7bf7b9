package sample

import (
	"hash/maphash"
	"strings"
)

// Texts holds many texts in little memory: one behind the other, without a pointer for each. A text that was put in shortly
// before is not put in again. Texts are put in by one goroutine; then any number may get them.
type Texts struct {
	chunks  []string
	current strings.Builder // of the last chunk
	seed    maphash.Seed
	recent  []Text // by hash
}

// NewTexts returns no texts.
func NewTexts() *Texts { return &Texts{seed: maphash.MakeSeed()} }

// Text stands for a text in Texts; 0 stands for "".
type Text uint64

// A Text has the number of its chunk plus one, its place in the chunk and its length.
const (
	chunkBytes             = 1 << 20
	placeBits, lengthBits  = 20, 24
	recentTexts            = 1 << 14
	placeMask, lengthLimit = 1<<placeBits - 1, 1 << lengthBits
)

// Put adds a text of less than 16 MiB.
func (t *Texts) Put(text string) Text {
	if text == "" {
		return 0
	}
	if len(text) >= lengthLimit {
		panic("sample: a text of 16 MiB")
	}
	if t.recent == nil {
		t.recent = make([]Text, recentTexts)
	}
	slot := &t.recent[maphash.String(t.seed, text)%recentTexts]
	if t.Get(*slot) == text {
		return *slot
	}
	if len(t.chunks) == 0 || t.current.Len()+len(text) > chunkBytes {
		t.current = strings.Builder{}
		t.current.Grow(max(chunkBytes, len(text)))
		t.chunks = append(t.chunks, "")
	}
	at := t.current.Len()
	t.current.WriteString(text)
	t.chunks[len(t.chunks)-1] = t.current.String()
	*slot = Text(len(t.chunks))<<(placeBits+lengthBits) | Text(at)<<lengthBits | Text(len(text))
	return *slot
}

// Get returns a text.
func (t *Texts) Get(x Text) string {
	if x == 0 {
		return ""
	}
	at := int(x>>lengthBits) & placeMask
	return t.chunks[x>>(placeBits+lengthBits)-1][at:][:x&(lengthLimit-1)]
}

// Lists holds a list of distinct texts for each of many samples, in little memory.
type Lists struct {
	texts *Texts
	first []int32 // by sample: the place of its first text in items plus one; 0 for none
	last  []int32
	items []Text
	next  []int32 // by item: the place of the next text of its sample plus one; 0 for none
	long  map[uint64]bool
}

// NewLists returns lists whose texts lie in texts.
func NewLists(texts *Texts) *Lists { return &Lists{texts: texts} }

// longList says from how many texts on a list is not looked through for each new one.
const longList = 16

// Add adds a text to list i, unless it is in it already.
func (l *Lists) Add(i int, text string) {
	for len(l.first) <= i {
		l.first, l.last = append(l.first, 0), append(l.last, 0)
	}
	n := 0
	for at := l.first[i]; at != 0 && n < longList; at = l.next[at-1] {
		if l.texts.Get(l.items[at-1]) == text {
			return
		}
		n++
	}
	if n == longList && !l.addLong(i, text) {
		return
	}
	l.items, l.next = append(l.items, l.texts.Put(text)), append(l.next, 0)
	at := int32(len(l.items))
	if l.first[i] == 0 {
		l.first[i] = at
	} else {
		l.next[l.last[i]-1] = at
	}
	l.last[i] = at
}

// addLong reports whether a list of many texts lacks one, and remembers that it has it now. Hashes of 64 bits tell the texts
// apart.
func (l *Lists) addLong(i int, text string) bool {
	if l.long == nil {
		l.long = map[uint64]bool{}
	}
	hash := func(text string) uint64 {
		return maphash.Comparable(l.texts.seed, listText{i, text})
	}
	if first := hash(""); !l.long[first] { // the list has just become long
		l.long[first] = true
		for at := l.first[i]; at != 0; at = l.next[at-1] {
			l.long[hash(l.texts.Get(l.items[at-1]))] = true
		}
	}
	h := hash(text)
	if l.long[h] {
		return false
	}
	l.long[h] = true
	return true
}

type listText struct {
	list int
	text string
}

// List returns list i.
func (l *Lists) List(i int) []string {
	if i >= len(l.first) {
		return nil
	}
	out := make([]string, 0, l.Len(i))
	for at := l.first[i]; at != 0; at = l.next[at-1] {
		out = append(out, l.texts.Get(l.items[at-1]))
	}
	return out
}

// Len returns the number of texts in list i.
func (l *Lists) Len(i int) (n int) {
	if i < len(l.first) {
		for at := l.first[i]; at != 0; at = l.next[at-1] {
			n++
		}
	}
	return n
}

// Names numbers distinct texts in the order in which they come first.
type Names struct {
	texts *Texts
	names []Text
	slots []int32 // number plus one, by hash; 0 for none
}

// NewNames returns names that lie in texts.
func NewNames(texts *Texts) *Names { return &Names{texts: texts} }

// Len returns how many names there are.
func (n *Names) Len() int { return len(n.names) }

// Get returns name i.
func (n *Names) Get(i int) string { return n.texts.Get(n.names[i]) }

// Number returns the number of a name, and whether it had one before.
func (n *Names) Number(name string) (i int, known bool) {
	if 2*len(n.names) >= len(n.slots) {
		n.grow()
	}
	at := n.slot(name)
	if n.slots[at] != 0 {
		return int(n.slots[at]) - 1, true
	}
	n.names = append(n.names, n.texts.Put(name))
	n.slots[at] = int32(len(n.names))
	return len(n.names) - 1, false
}

// slot returns where a name is, or where it belongs.
func (n *Names) slot(name string) int {
	mask := len(n.slots) - 1
	at := int(maphash.String(n.texts.seed, name)) & mask
	for n.slots[at] != 0 && n.Get(int(n.slots[at])-1) != name {
		at = (at + 1) & mask
	}
	return at
}

func (n *Names) grow() {
	n.slots = make([]int32, max(1024, 2*len(n.slots)))
	for i := range n.names {
		n.slots[n.slot(n.Get(i))] = int32(i + 1)
	}
}

// Done frees what only Number needs.
func (n *Names) Done() { n.slots = nil }
