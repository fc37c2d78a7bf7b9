package token

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
)

// clipMerges counts the merges of the published vocabulary, which has 256 + 256 + 48894 + 2 = 49408 ids. The
// published file has more merges after them.
const clipMerges = 48894

//go:embed merges.txt.gz
var mergesGZ []byte

// NewCLIP makes the tokenizer of the published CLIP models, from the merges that this package carries: the heading and
// the 48,894 merges in use of the published bpe_simple_vocab_16e6.txt.
func NewCLIP() *BPE {
	r, err := gzip.NewReader(bytes.NewReader(mergesGZ))
	if err != nil {
		panic(err)
	}
	t, _, err := parseMerges(r)
	if err != nil {
		panic(err)
	}
	return t
}

// ReadMerges makes the CLIP tokenizer from a merges file, bpe_simple_vocab_16e6.txt as OpenAI and OpenCLIP
// publish it, plain or gzip: a heading, then two symbols a line. The published file gives ids equal to theirs;
// a shorter one gives a smaller vocabulary. A missing file yields fault.NotFound, one of another form
// fault.Corrupt with the line.
func ReadMerges(path string) (*BPE, error) {
	file, err := files.Open(path)
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "merges file: %w", err).
			WithHint("bpe_simple_vocab_16e6.txt.gz is part of the OpenAI CLIP and OpenCLIP repositories")
	}
	defer file.Close()
	buffered := bufio.NewReader(file)
	var r io.Reader = buffered
	if magic, _ := buffered.Peek(2); string(magic) == "\x1f\x8b" {
		if r, err = gzip.NewReader(buffered); err != nil {
			return nil, fault.New(fault.Corrupt, "merges file: %w", err).WithFile(path, 0, 0)
		}
	}
	t, line, err := parseMerges(r)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "merges file: %w", err).WithFile(path, line, 0)
	}
	return t, nil
}

func parseMerges(r io.Reader) (t *BPE, line int, err error) {
	t = emptyBPE(0)
	lines := bufio.NewScanner(r)
	for line = 1; lines.Scan() && len(t.made) < clipMerges; line++ {
		if line == 1 { // "#version: …", or the like
			continue
		}
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return nil, line, fault.New(fault.Corrupt, "%d symbols, want 2", len(fields))
		}
		var ids [2]int32
		for i, field := range fields {
			s, ok := parseSymbol(field)
			id, known := t.byText[s]
			if !ok || !known || i == 0 && s.end {
				return nil, line, fault.New(fault.Corrupt, "symbol %q cannot be joined here", field)
			}
			ids[i] = id
		}
		if _, twice := t.ranks[pair(ids[0], ids[1])]; twice {
			return nil, line, fault.New(fault.Corrupt, "the pair %q is there twice", lines.Text())
		}
		t.addMerge(ids[0], ids[1])
	}
	if err := lines.Err(); err != nil {
		return nil, line, err
	}
	if len(t.made) == 0 {
		return nil, 0, fault.New(fault.Corrupt, "no merges")
	}
	t.size = t.Used()
	return t, 0, nil
}

// parseSymbol reads the printable form of a symbol: a character for each byte, then </w> at the end of
// a word.
func parseSymbol(text string) (symbol, bool) {
	text, end := strings.CutSuffix(text, "</w>")
	var raw []byte
	for _, r := range text {
		b, ok := runeByte[r]
		if !ok {
			return symbol{}, false
		}
		raw = append(raw, b)
	}
	return symbol{string(raw), end}, len(raw) > 0
}
