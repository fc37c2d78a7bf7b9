package hf

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"tandem/core/fault"
)

// charsmap is SentencePiece's table of replacements: a trie in a double array (Darts) whose values are places in text,
// where the replacement stands up to a zero.
type charsmap struct {
	units []uint32
	text  []byte
}

func newCharsmap(data []byte, path string) (normalizer, error) {
	if len(data) == 0 {
		return nil, nil
	}
	if len(data) < 4 {
		return nil, fault.New(fault.Corrupt, "%d bytes are no charsmap", len(data)).WithPath(path)
	}
	size := int64(binary.LittleEndian.Uint32(data))
	if size%4 != 0 || size > int64(len(data)-4) || size == 0 {
		return nil, fault.New(fault.Corrupt, "the trie of the charsmap has %d bytes of %d", size, len(data)-4).WithPath(path)
	}
	m := &charsmap{units: make([]uint32, size/4), text: data[4+size:]}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(data[4+4*i:])
	}
	return m, nil
}

// normalize replaces graphemes of less than six bytes that the table knows, and otherwise the characters in them.
func (m *charsmap) normalize(text string) string {
	var out strings.Builder
	state := -1
	for rest := text; rest != ""; {
		var grapheme string
		grapheme, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if len(grapheme) < 6 {
			if to, ok := m.lookup(grapheme); ok {
				out.Write(to)
				continue
			}
		}
		for i, r := range grapheme {
			c := grapheme[i : i+utf8.RuneLen(r)]
			if to, ok := m.lookup(c); ok {
				out.Write(to)
			} else {
				out.WriteString(c)
			}
		}
	}
	return out.String()
}

// lookup returns the replacement of the shortest prefix that the table has, as the library does.
func (m *charsmap) lookup(key string) ([]byte, bool) {
	offset := func(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }
	at := offset(m.units[0])
	for i := range len(key) {
		if at ^= uint32(key[i]); key[i] == 0 || int(at) >= len(m.units) {
			return nil, false
		}
		unit := m.units[at]
		if unit&(1<<31|0xff) != uint32(key[i]) {
			return nil, false
		}
		if at ^= offset(unit); int(at) >= len(m.units) {
			return nil, false
		}
		if unit>>8&1 == 1 {
			from := int(m.units[at] & (1<<31 - 1))
			if from > len(m.text) {
				return nil, false
			}
			to, _, _ := bytes.Cut(m.text[from:], []byte{0})
			return to, true
		}
	}
	return nil, false
}
