package collective

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/cluster.md")

// The trainings of docs/cluster.md: trained parameters of the towers and width of an embedding.
var (
	vitB32     = Traffic{Parameters: 151_277_312, Dim: 512, Embeddings: 2}
	quickstart = Traffic{Parameters: 1_184_896, Dim: 128, Embeddings: 2}
)

func TestBytesPerStepAreThoseOfTheSums(t *testing.T) {
	two := vitB32
	two.Ranks, two.Batch = 2, 64
	got := BytesPerStep(two)
	// Each of two ranks gives the other 32 embeddings of an image and of a text, half of its gradients and half of the sums.
	want := StepBytes{Embeddings: 2 * (32 * 512 * 4 * 2), Gradients: 2 * (151_277_312 * 4)}
	if got != want || got.Total() != want.Embeddings+want.Gradients {
		t.Errorf("two ranks give %+v, want %+v", got, want)
	}
	two.LossRows = true
	if got := BytesPerStep(two).EmbeddingGradients; got != want.Embeddings {
		t.Errorf("gradients of embeddings are %d bytes, want %d", got, want.Embeddings)
	}
	one := two
	one.Ranks = 1
	if got := BytesPerStep(one).Total(); got != 0 {
		t.Errorf("one rank gives %d bytes", got)
	}
}

func TestGathersGiveTheBytesOfTheFormula(t *testing.T) {
	const ranks, values = 3, 10
	groups := Local(ranks)
	if err := together(groups, func(g Group) error {
		return g.GatherFloats(context.Background(), make([]float32, values), make([]float32, ranks*values))
	}); err != nil {
		t.Fatal(err)
	}
	var sent int64
	for _, g := range groups {
		sent += g.Sent()
	}
	if want := GatherBytes(ranks, ranks*values*4); sent != want {
		t.Errorf("%d bytes were sent, want %d", sent, want)
	}
}

// docs/cluster.md holds the table that the functions give.
func TestClusterPage(t *testing.T) {
	file := filepath.Join("..", "..", "..", "docs", "cluster.md")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- bytes of a step: written by `go test ./core/experiment/collective -update` -->\n", "<!-- end of bytes -->"
	head, rest, ok := strings.Cut(string(data), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("docs/cluster.md lost its marks of the bytes of a step")
	}
	page := head + begin + bytesTable() + end + tail
	if page == string(data) {
		return
	}
	if !*update {
		t.Fatal("docs/cluster.md is not what BytesPerStep says: run go test ./core/experiment/collective -update")
	}
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

func bytesTable() string {
	var b strings.Builder
	b.WriteString("| model | ranks | pairs a rank | embeddings, MB | gradients, MB | 1 Gbit/s | 10 Gbit/s | 25 Gbit/s | 100 Gbit/s |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, model := range []struct {
		name  string
		size  Traffic
		pairs int
	}{{"quickstart", quickstart, 64}, {"ViT-B/32", vitB32, 32}, {"ViT-B/32", vitB32, 1024}} {
		for _, ranks := range []int{2, 4, 8, 32} {
			t := model.size
			t.Ranks, t.Batch = ranks, ranks*model.pairs
			bytes, each := BytesPerStep(t), float64(ranks)*1e6
			fmt.Fprintf(&b, "| %s | %d | %d | %.2f | %.1f |", model.name, ranks, model.pairs, float64(bytes.Embeddings)/each, float64(bytes.Gradients)/each)
			for _, gbit := range []float64{1, 10, 25, 100} {
				fmt.Fprintf(&b, " %s |", duration(float64(bytes.Total())/each*8/(gbit*1e3)))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func duration(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%.3g ms", seconds*1e3)
	}
	return fmt.Sprintf("%.3g s", seconds)
}
