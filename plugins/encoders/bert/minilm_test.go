package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower/towertest"
	"tandem/core/media/token"
)

// Real weights give what transformers gives: cosines of 0.9999 and more, and the same ids. tools/bert-check.py makes the file
// and runs this.
func TestEqualsTransformersOnRealWeights(t *testing.T) {
	file := os.Getenv("TANDEM_BERT_CHECK")
	if file == "" {
		t.Skip("tools/bert-check.py FOLDER runs this with the published weights in FOLDER")
	}
	var want struct {
		Folder        string      `json:"folder"`
		ContextLength int         `json:"context_length"`
		Width         int         `json:"width"`
		Texts         []string    `json:"texts"`
		IDs           [][]int32   `json:"ids"`
		Mean          [][]float64 `json:"mean"`
	}
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &want)
	}
	if err != nil || len(want.Texts) == 0 {
		t.Fatalf("%d texts: %v", len(want.Texts), err)
	}
	tokenizer, err := readTokenizer(want.Folder)
	if err != nil {
		t.Fatal(err)
	}
	checkIDs(t, tokenizer, want.ContextLength, want.Texts, want.IDs)
	for _, device := range towertest.Devices() {
		e := text()
		with := fmt.Sprintf(`{"folder": %q, "context_length": %d, "pool": "mean"}`, want.Folder, want.ContextLength)
		if _, err := e.Configure(t.Context(), clip.EncoderConfig{With: json.RawMessage(with), EmbedDim: want.Width, Optimizer: clip.Optimizer{Name: "sgd"},
			Freeze: clip.Freeze{All: true}, Compute: clip.Compute{Device: device, Threads: 2, Precision: "f32"}}); err != nil {
			t.Fatal(err)
		}
		least, sum, worst := 2., 0., ""
		for from := 0; from < len(want.Texts); from += 50 {
			to := min(from+50, len(want.Texts))
			out, _, err := e.Forward(t.Context(), clip.ForwardRequest{Texts: want.Texts[from:to], Mode: clip.Eval})
			if err != nil {
				t.Fatal(err)
			}
			for i := range to - from {
				cos := cosine(out.F32()[i*want.Width:(i+1)*want.Width], want.Mean[from+i])
				if sum += cos; cos < least {
					least, worst = cos, want.Texts[from+i]
				}
			}
		}
		e.Close()
		t.Logf("%s: %d texts, cosine to transformers at least %.8f, on average %.8f", device, len(want.Texts), least, sum/float64(len(want.Texts)))
		if least < .9999 {
			t.Errorf("%s: the cosine is %g for %q", device, least, worst)
		}
	}
}

func checkIDs(t *testing.T, tokenizer token.Tokenizer, context int, texts []string, want [][]int32) {
	t.Helper()
	for i, text := range texts {
		if got := tokenizer.Encode(text, context); !slices.Equal(got, want[i]) {
			t.Errorf("%q has the ids %v, want %v", text, got, want[i])
		}
	}
}

func cosine(a []float32, b []float64) float64 {
	var ab, aa, bb float64
	for i, v := range a {
		ab, aa, bb = ab+float64(v)*b[i], aa+float64(v)*float64(v), bb+b[i]*b[i]
	}
	return ab / math.Sqrt(aa*bb)
}
