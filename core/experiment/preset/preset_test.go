package preset

import (
	"encoding/csv"
	"os"
	"strconv"
	"strings"
	"testing"

	"tandem/core/fault"
)

// Parameters are those of OpenCLIP's own modules, to the last one; operations are those that torch counts.
func TestCostsAreOpenCLIPs(t *testing.T) {
	f, err := os.Open("testdata/cost.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != len(All())+1 || len(All()) < 60 {
		t.Fatalf("%d rows for %d models, %v", len(rows), len(All()), err)
	}
	for _, row := range rows[1:] {
		m, err := Find(row[0])
		if err != nil {
			t.Error(err)
			continue
		}
		c := m.Cost()
		if image, text := strconv.FormatInt(c.ImageParameters, 10), strconv.FormatInt(c.TextParameters, 10); image != row[1] || text != row[2] {
			t.Errorf("%s has %s and %s parameters, OpenCLIP %s and %s", m.Name, image, text, row[1], row[2])
		}
		if m.Image.PatchSize == 0 { // OpenCLIP's pool computes all queries, of which it takes the first
			w, others := 32*m.Image.Width, m.Image.Size*m.Image.Size/1024
			waste := counter{}
			waste.product(w, w+m.EmbedDim, others, false)
			waste.attention(others, 1+others, w)
			c.ImageFLOPs += waste.flops
		}
		for i, got := range []float64{c.ImageFLOPs, c.TextFLOPs} {
			if want, err := strconv.ParseFloat(row[3+i], 64); err != nil || got < .999*want || got > 1.001*want {
				t.Errorf("%s: %.5g operations, torch counts %.5g (%v)", m.Name, got, want, err)
			}
		}
	}
}

func TestUnknownModelsAreNamed(t *testing.T) {
	_, err := Find("ViT-B-16-SigLip")
	if f, ok := err.(*fault.Error); !ok || f.Kind != fault.NotFound || !strings.Contains(f.Hint, "did you mean ViT-B-16-SigLIP?") {
		t.Errorf("%v", err)
	}
}
