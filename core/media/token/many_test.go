package token

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// manyTexts makes the texts of tools/goldens/token/many.py from the same numbers.
type manyTexts struct{ Pieces, Spaces, Digests []string }

type numbers uint64

func (n *numbers) next(below int) int {
	*n = *n*6364136223846793005 + 1442695040888963407
	return int(uint64(*n)>>33) % below
}

func (m manyTexts) text(i int) string {
	n := numbers(i)
	character := func(c int) rune {
		if c >= 0xd800 && c <= 0xdfff {
			c -= 0x800
		}
		return rune(c)
	}
	var out strings.Builder
	for range 1 + n.next(10) {
		switch kind := n.next(9); {
		case kind < 3:
			out.WriteString(m.Pieces[n.next(len(m.Pieces))])
		case kind == 3:
			out.WriteString(m.Spaces[n.next(len(m.Spaces))])
		case kind == 4:
			out.WriteRune(character(n.next(0x10000)))
		case kind == 5:
			out.WriteRune(character(n.next(0x20000)))
		case kind == 6:
			for range 1 + n.next(6) {
				out.WriteByte(byte(32 + n.next(95)))
			}
		case kind == 7:
			for range 1 + n.next(3) {
				out.WriteRune(rune(0x80 + n.next(0x1d0)))
			}
		default:
			piece := m.Pieces[n.next(len(m.Pieces))]
			out.WriteString(strings.Repeat(piece, 1+n.next(30)))
		}
	}
	return out.String()
}

// TestIDsOfRandomAndHostileTextsAreThoseOfOpenCLIP compares 12,000 texts, a digest for each hundred. many.py
// with the number of a block prints what is wanted there.
func TestIDsOfRandomAndHostileTextsAreThoseOfOpenCLIP(t *testing.T) {
	data, err := os.ReadFile("testdata/many.json")
	if err != nil {
		t.Fatal(err)
	}
	var m manyTexts
	if err := json.Unmarshal(data, &m); err != nil || len(m.Digests) != 120 {
		t.Fatalf("%d digests, %v", len(m.Digests), err)
	}
	clip, err := ReadMerges("testdata/merges.txt")
	if err != nil {
		t.Fatal(err)
	}
	for block, want := range m.Digests {
		h := sha256.New()
		for i := 100 * block; i < 100*(block+1); i++ {
			fmt.Fprintln(h, strings.Trim(strings.ReplaceAll(fmt.Sprint(clip.Encode(m.text(i), 0)), " ", ","), "[]"))
		}
		if got := hex.EncodeToString(h.Sum(nil))[:16]; got != want {
			t.Errorf("block %d differs from OpenCLIP", block)
			if os.Getenv("TANDEM_TOKEN_BLOCKS") != "" {
				for i := 100 * block; i < 100*(block+1); i++ {
					text, _ := json.Marshal(m.text(i))
					t.Logf("%d %s %+q %v", i, text, Clean(m.text(i)), clip.Encode(m.text(i), 0))
				}
			}
		}
	}
}

func TestTheIotaSubscriptEndsAWordAndIsLeftOut(t *testing.T) {
	var words []string
	split(Clean("ΑΙ\u0345b a\u0345 \u0345"), func(w string) { words = append(words, w) })
	if got := strings.Join(words, "|"); got != "αι|b|a" {
		t.Errorf("got %q", got)
	}
}
