package token

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/core/fault"
)

// own is what the tokenizers have in common that do not come from a tokenizer.json.
type own interface {
	Tokenizer
	SOT() int32
	EOT() int32
	Decode([]int32) string
}

// all returns one tokenizer of each sort but HF.
func all(t *testing.T) map[string]own {
	t.Helper()
	clip, err := ReadMerges("testdata/merges.txt")
	if err != nil {
		t.Fatal(err)
	}
	trained, err := Train([]string{"a photo of a cat", "a photo of two cats", "a dog"}, 600)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := NewBytes(0)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]own{"clip": clip, "trained": trained, "bytes": bytes}
}

func TestTooLongTextIsCutAndEndsInEOT(t *testing.T) {
	for name, tok := range all(t) {
		whole := tok.Encode(strings.Repeat("a cat ", 50), 0)
		for _, length := range []int{1, 2, 5, len(whole) - 1, len(whole), len(whole) + 1} {
			got := tok.Encode(strings.Repeat("a cat ", 50), length)
			n := min(length, len(whole))
			if len(got) != n || got[n-1] != tok.EOT() || !slices.Equal(got[:n-1], whole[:n-1]) {
				t.Errorf("%s: context %d gives %v", name, length, got)
			}
		}
	}
}

func TestDecodeInvertsEncode(t *testing.T) {
	for name, tok := range all(t) {
		for _, text := range []string{"a photo of a cat", "über 😀 猫", ""} {
			ids := append(tok.Encode(text, 0), 5, 6)
			if got := tok.Decode(ids); got != text {
				t.Errorf("%s: %q came back as %q", name, text, got)
			}
		}
	}
}

func TestSavedTokenizerGivesTheSameIDs(t *testing.T) {
	for name, tok := range all(t) {
		data, err := tok.Save()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(data)
		if err != nil {
			t.Fatal(err)
		}
		text := "Two photos of CATS, it's a dog's 😀 <|endoftext|>"
		if a, b := tok.Encode(text, 0), again.Encode(text, 0); !slices.Equal(a, b) || again.VocabSize() != tok.VocabSize() {
			t.Errorf("%s: %v became %v", name, a, b)
		}
	}
}

func TestLoadRefusesWhatSaveDidNotWrite(t *testing.T) {
	for _, data := range []string{
		``, `{}`, `[]`, `{"format":"bpe/9","vocab_size":600}`,
		`{"format":"bytes/1","vocab_size":257}`,
		`{"format":"bpe/1","vocab_size":513}`,
		`{"format":"bpe/1","vocab_size":600,"merges":[1]}`,
		`{"format":"bpe/1","vocab_size":600,"merges":[1,9999]}`,
		`{"format":"bpe/1","vocab_size":600,"merges":[-1,2]}`,
		`{"format":"bpe/1","vocab_size":600,"merges":[300,2]}`,
		`{"format":"bpe/1","vocab_size":600,"merges":[1,2,1,2]}`,
		`{"format":"bpe/1","vocab_size":514,"merges":[1,2]}`,
	} {
		if _, err := Load([]byte(data)); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: got %v, want fault.Corrupt", data, err)
		}
	}
}

func TestSpecialTokensInATextAreTheirIDs(t *testing.T) {
	tok := all(t)["clip"]
	got := tok.Encode("<start_of_text><END_OF_TEXT>", 0)
	if !slices.Equal(got, []int32{tok.SOT(), tok.SOT(), tok.EOT(), tok.EOT()}) {
		t.Errorf("got %v", got)
	}
}

func TestConcurrentUseGivesTheSameIDs(t *testing.T) {
	tok := all(t)["clip"]
	want := make([][]int32, 50)
	other := all(t)["clip"]
	for i := range want {
		want[i] = other.Encode(fmt.Sprint("photo number ", i), 12)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range want {
				got := tok.Encode(fmt.Sprint("photo number ", i), 12)
				if !slices.Equal(got, want[i]) {
					t.Errorf("%d: %v, want %v", i, got, want[i])
				}
				got[1] = -1 // the caller's own: must not reach the cache
			}
		})
	}
	group.Wait()
}

func TestTrainingJoinsTheMostFrequentPairFirst(t *testing.T) {
	// Words: low ×5, lower ×2, newest ×6, widest ×3 (Sennrich et al. 2016, algorithm 1). Pairs e-s and
	// s-t</w> both occur 9 times: e-s is first by bytes.
	captions := []string{
		"low low low low low lower lower", "newest newest newest newest newest newest widest widest widest",
	}
	tok, err := Train(captions, 514+5)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range tok.symbols[base:] {
		text := s.text
		if s.end {
			text += "_"
		}
		got = append(got, text)
	}
	if want := []string{"es", "est_", "lo", "ew", "ewest_"}; !slices.Equal(got, want) {
		t.Errorf("merges %q, want %q", got, want)
	}
}

func TestTrainingStopsWhenNothingRepeats(t *testing.T) {
	tok, err := Train([]string{"abc abc", "xyz"}, 49408)
	if err != nil {
		t.Fatal(err)
	}
	if tok.VocabSize() != 49408 || tok.EOT() != 49407 || tok.Used() != 514+2 {
		t.Errorf("vocabulary %d, EOT %d, %d used", tok.VocabSize(), tok.EOT(), tok.Used())
	}
	if got := tok.Encode("abc", 0); len(got) != 3 {
		t.Errorf("abc is %v, want one token between SOT and EOT", got)
	}
	if _, err := Train(nil, 513); fault.KindOf(err) != fault.Invalid {
		t.Errorf("vocabulary of 513: %v", err)
	}
	if empty, err := Train(nil, 514); err != nil || empty.Used() != 514 {
		t.Errorf("no captions: %v", err)
	}
}

// TestTrainingMatchesTheTextbook compares the incremental counts with counting all pairs anew in every
// round.
func TestTrainingMatchesTheTextbook(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var captions []string
	for range 60 {
		word := make([]byte, 1+r.IntN(9))
		for i := range word {
			word[i] = "aab"[r.IntN(3)]
		}
		captions = append(captions, strings.Repeat(string(word)+" ", 1+r.IntN(4)))
	}
	tok, err := Train(captions, 514+60)
	if err != nil {
		t.Fatal(err)
	}
	if want := textbook(captions, 60); !slices.Equal(tok.merges, want) {
		t.Errorf("merges\n%v want\n%v", tok.merges, want)
	}
	slices.Reverse(captions)
	again, _ := Train(captions, 514+60)
	if !slices.Equal(again.merges, tok.merges) {
		t.Error("merges depend on the order of the captions")
	}
}

func textbook(captions []string, symbols int) []int32 {
	tok := emptyBPE(base + 2 + symbols)
	var words [][]int32
	for _, caption := range captions {
		split(caption, func(w string) { words = append(words, byteIDs(w, true)) })
	}
	for len(tok.symbols) < base+symbols {
		counts := map[uint64]int64{}
		for _, w := range words {
			for i := range len(w) - 1 {
				counts[pair(w[i], w[i+1])]++
			}
		}
		queue := candidates{bpe: tok}
		for p, n := range counts {
			queue.list = append(queue.list, candidate{p, n})
		}
		best := 0
		for i := range queue.list {
			if queue.Less(i, best) {
				best = i
			}
		}
		if len(queue.list) == 0 || queue.list[best].count < 2 {
			break
		}
		left, right := int32(queue.list[best].pair>>32), int32(uint32(queue.list[best].pair))
		id := tok.addMerge(left, right)
		for n, w := range words {
			var out []int32
			for i := 0; i < len(w); i++ {
				if w[i] == left && i+1 < len(w) && w[i+1] == right {
					out = append(out, id)
					i++
				} else {
					out = append(out, w[i])
				}
			}
			words[n] = out
		}
	}
	return tok.merges
}

// A word of so many characters would take minutes if each merge looked at all of it; what is copied grows as the
// word does.
func TestTheWorkOfLongWordsGrowsAsTheWord(t *testing.T) {
	tok := all(t)["clip"]
	allocated := func(text string) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		tok.Encode(text, 77)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	for _, letter := range []string{"a", "猫"} {
		if n, four := allocated(strings.Repeat(letter, 1<<16)), allocated(strings.Repeat(letter, 1<<18)); four > 8*n {
			t.Errorf("%s: %d bytes for 65,536 times, %d for 262,144", letter, n, four)
		}
	}
}

func FuzzEncode(f *testing.F) {
	for _, seed := range []string{"a photo", "\xff\xfe", "&#0;&#x80;&amp;lt;", "Ã©â€™ðŸ", "'ſ\u0345İ"} {
		f.Add(seed)
	}
	tok, err := ReadMerges("testdata/merges.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids := tok.Encode(text, 0)
		for _, id := range ids {
			if id < 0 || int(id) >= tok.VocabSize() {
				t.Fatalf("id %d", id)
			}
		}
		if !slices.Contains(ids[1:len(ids)-1], tok.EOT()) && !slices.Contains(ids[1:], tok.SOT()) {
			letters := strings.NewReplacer(" ", "", "\u0345", "").Replace(Clean(text)) // see isNone
			if got := strings.ReplaceAll(tok.Decode(ids[1:]), " ", ""); got != letters {
				t.Fatalf("%+q came back as %+q", letters, got)
			}
		}
	})
}

func BenchmarkTrain(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 20000)
	for i := range words {
		word := make([]byte, 3+r.IntN(8))
		for j := range word {
			word[j] = "etaoinshrdlcum"[min(r.IntN(14), r.IntN(14))]
		}
		words[i] = string(word)
	}
	captions := make([]string, 200000)
	for i := range captions {
		var c []string
		for range 10 {
			c = append(c, words[int(float64(len(words))*r.Float64()*r.Float64()*r.Float64())])
		}
		captions[i] = strings.Join(c, " ")
	}
	for b.Loop() {
		if _, err := Train(captions, 49408); err != nil {
			b.Fatal(err)
		}
	}
}
