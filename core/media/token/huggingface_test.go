package token

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/fault"
)

func readHF(t *testing.T, name string) *HF {
	t.Helper()
	tok, err := ReadHF("hf/testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestATokenizerFileIsCutAtTheContextOfTheEncoder(t *testing.T) {
	tok := readHF(t, "gpt2")
	text := strings.Repeat("a red chair ", 100)
	whole := tok.Encode(text, 0)
	for _, limit := range []int{1, 2, 10, len(whole), len(whole) + 5} {
		got := tok.Encode(text, limit)
		if len(got) != min(limit, len(whole)) || got[len(got)-1] != whole[len(whole)-1] {
			t.Errorf("context %d gives %d ids, the last %d", limit, len(got), got[len(got)-1])
		}
	}
	if got := tok.Encode("a", 8); tok.Piece(got[0]) != "<s>" || tok.Piece(got[len(got)-1]) != "</s>" {
		t.Errorf("%v", got)
	}
	if ids := readHF(t, "words").Encode(" \n", 5); !slices.Equal(ids, []int32{1}) { // its [PAD]
		t.Errorf("a text without tokens is %v", ids)
	}
}

func TestASavedTokenizerFileGivesTheSameIDs(t *testing.T) {
	for _, name := range []string{"clip", "wordpiece", "unigram"} {
		tok := readHF(t, name)
		data, err := tok.Save()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(data)
		if err != nil {
			t.Fatal(err)
		}
		text := "Two photos of CATS, it's a dog's 😀 ﬁ"
		if a, b := tok.Encode(text, 0), again.Encode(text, 0); !slices.Equal(a, b) || again.Pad() != tok.Pad() || again.VocabSize() != tok.VocabSize() {
			t.Errorf("%s: %v became %v", name, a, b)
		}
	}
}

func TestOnlyACLIPLikeFileEndsWithTheLargestID(t *testing.T) {
	for name, want := range map[string]bool{"clip": true, "gpt2": false, "wordpiece": false, "words": false} {
		if got := readHF(t, name).EndIsLargest(); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestABrokenTokenizerFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	if _, err := ReadHF(path); fault.KindOf(err) != fault.NotFound {
		t.Errorf("missing: %v", err)
	}
	for content, kind := range map[string]fault.Kind{"{": fault.Corrupt, `{"model":{"type":"Neural","vocab":{}}}`: fault.Invalid} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadHF(path); fault.KindOf(err) != kind || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", content, err)
		}
	}
}

func TestPiecesShowWhatIDsStandFor(t *testing.T) {
	clip := NewCLIP()
	var got []string
	for _, id := range clip.Encode("a photo of 😀 cats", 0) {
		got = append(got, clip.Piece(id))
	}
	want := []string{"<start_of_text>", "a</w>", "photo</w>", "of</w>", "😀</w>", "cats</w>", "<end_of_text>"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	bytes, _ := NewBytes(0)
	if got := bytes.Piece(bytes.Encode("é", 0)[1]); got != `\xc3` {
		t.Errorf("a byte shows as %q", got)
	}
}
