package hf

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"tandem/core/fault"
)

// names are the files of testdata, which tools/goldens/token/hf.py made with tokenizers 0.23.
var names = []string{"clip", "gpt2", "wordpiece", "unigram", "unigram-bytes", "llama", "words", "characters"}

func open(t testing.TB, name string) *Tokenizer {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := Parse(data)
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	return tok
}

type golden struct {
	Texts    []string
	Digests  map[string]string // by tokenizer: 6 hex digits for each text
	Examples map[string]map[int]struct {
		IDs    []int32
		Tokens []string
	}
}

func goldens(t *testing.T) (g golden) {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Texts) < 1000 || len(g.Digests) != len(names) {
		t.Fatalf("%d texts, %d tokenizers", len(g.Texts), len(g.Digests))
	}
	return g
}

func ids(tokens []Token) []int32 {
	out := make([]int32, len(tokens))
	for i, tok := range tokens {
		out[i] = tok.ID
	}
	return out
}

func digest(list []int32) string {
	h := sha256.Sum256([]byte(strings.Join(strings.Fields(strings.Trim(jsonOf(list), "[]")), "")))
	return hex.EncodeToString(h[:])[:6]
}

func jsonOf(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}

func TestIDsAreThoseOfTheLibrary(t *testing.T) {
	g := goldens(t)
	for _, name := range names {
		tok, wrong := open(t, name), 0
		for i, text := range g.Texts {
			if got := tok.Encode(text, tok.Limit()); digest(ids(got)) != g.Digests[name][6*i:6*i+6] {
				if wrong++; wrong <= 5 {
					t.Errorf("%s, text %d: %+q gives %v", name, i, text, got)
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%s: %d of %d texts differ", name, wrong, len(g.Texts))
		}
		for i, want := range g.Examples[name] {
			got := tok.Encode(g.Texts[i], tok.Limit())
			if !slices.Equal(ids(got), want.IDs) {
				t.Errorf("%s: %q gives %v, want %v", name, g.Texts[i], got, want.IDs)
			}
		}
	}
}

func TestALimitCutsTheTextAndKeepsItsEnds(t *testing.T) {
	tok := open(t, "clip")
	if tok.Limit() != 77 {
		t.Errorf("the file's limit is %d", tok.Limit())
	}
	before, after := tok.Ends()
	long := strings.Repeat("a red chair ", 40)
	for limit, want := range map[int]int{0: 122, 5: 5, 2: 2, 100: 100} {
		got := tok.Encode(long, limit)
		if len(got) != want || got[0] != before[0] || got[len(got)-1] != after[0] {
			t.Errorf("limit %d gives %d tokens: %v", limit, len(got), got)
		}
	}
	if tok.Pad() != after[0].ID || tok.VocabSize() != int(after[0].ID)+1 {
		t.Errorf("padding with %d in a vocabulary of %d", tok.Pad(), tok.VocabSize())
	}
}

func TestUnknownPartsAreRefusedByName(t *testing.T) {
	const model = `"model":{"type":"WordLevel","vocab":{"a":0,"?":1},"unk_token":"?"}`
	for file, path := range map[string]string{
		`{` + model + `,"normalizer":{"type":"Rot13"}}`:                                                                      "normalizer",
		`{` + model + `,"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Rot13"}]}}`:                   "normalizer.1",
		`{` + model + `,"pre_tokenizer":{"type":"UnicodeScripts"}}`:                                                          "pre_tokenizer",
		`{` + model + `,"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a(?<!b"},"behavior":"Isolated","invert":false}}`: "pre_tokenizer",
		`{` + model + `,"pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"Eaten"}}`:                       "pre_tokenizer.behavior",
		`{` + model + `,"post_processor":{"type":"Swap"}}`:                                                                   "post_processor",
		`{` + model + `,"post_processor":{"type":"TemplateProcessing","single":[],"special_tokens":{}}}`:                     "post_processor",
		`{` + model + `,"padding":{"direction":"Left","pad_id":0}}`:                                                          "padding",
		`{"model":{"type":"Neural","vocab":{}}}`:                                                                             "model",
		`{"model":{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.1}}`:                                                 "model.dropout",
		`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}`:                                                          "model.merges",
		`{"model":{"type":"WordPiece","vocab":{"a":0}}}`:                                                                     "model.unk_token",
		`{"model":{"type":"Unigram","vocab":[["a",0]],"unk_id":1}}`:                                                          "model.unk_id",
		`{` + model + `,"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAAAAA="}}`:                              "normalizer",
		`{}`: "model",
	} {
		_, err := Parse([]byte(file))
		f, ok := err.(*fault.Error)
		if !ok || f.Path != path || f.Kind != fault.Invalid && f.Kind != fault.Corrupt {
			t.Errorf("%s: got %v, want a fault at %s", file, err, path)
		}
	}
	if _, err := Parse([]byte("[")); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("no JSON: %v", err)
	}
}

// Every text has an encoding within the vocabulary, whatever its bytes.
func FuzzEncode(f *testing.F) {
	for _, seed := range []string{"a photo", "\xff\xfe", "<mask> fox", "▁\u0301\u0301", "ﬁ½🇩🇪\u200b", "\x00"} {
		f.Add(seed)
	}
	var all []*Tokenizer
	for _, name := range names {
		all = append(all, open(f, name))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for i, tok := range all {
			for _, token := range tok.Encode(text, 0) {
				if token.ID < 0 || int(token.ID) >= tok.VocabSize() {
					t.Fatalf("%s: %+q has the id %d", names[i], text, token.ID)
				}
			}
		}
	})
}

// A file may be anything; what is accepted tokenizes.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{ // small ones: large ones are all that a fuzzer would look at
		`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"<0x41>":3,"?":4},"merges":["a b"],"unk_token":"?","byte_fallback":true},"normalizer":{"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Prepend","prepend":"a"}]}}`,
		`{"model":{"type":"Unigram","vocab":[["?",0],["▁",-1],["a",-2.5]],"unk_id":0},"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"},"normalizer":{"type":"Precompiled","precompiled_charsmap":"BAAAAAAAAAAA"}}`,
		`{"model":{"type":"WordPiece","vocab":{"[UNK]":0,"a":1,"##b":2}},"normalizer":{"type":"BertNormalizer"},"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"BertProcessing","sep":["[SEP]",4],"cls":["[CLS]",3]}}`,
		`{"model":{"type":"WordLevel","vocab":{"a":0,"?":1},"unk_token":"?"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":"b"},"behavior":"MergedWithNext"},{"type":"ByteLevel"}]},"added_tokens":[{"id":9,"content":"<mask>","lstrip":true,"single_word":true}],"truncation":{"max_length":3,"direction":"Left"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if tok, err := Parse(data); err == nil {
			tok.Encode("A photo of 2 cats ①\u0301 <mask>", 0)
		}
	})
}
