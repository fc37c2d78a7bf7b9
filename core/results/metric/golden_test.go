package metric

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// golden holds what plain numpy gives (tools/goldens/metric).
type golden struct {
	Calibration struct {
		Classes int
		Logits  []float32
		Labels  []int
		Figures []struct {
			Temperature, ECE, Adaptive, Brier, NLL float64
			Bins                                   []int
		}
		Best float64
	}
	Retrieval struct {
		Candidates, Queries []int64
		Scores              []float32
		Map10               float64
		RPrecision          float64 `json:"r_precision"`
		MRR                 float64
	}
}

func loadGolden(t *testing.T) (g golden) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func valueOf(t *testing.T, values []Value, name string) float64 {
	for _, v := range values {
		if v.Name == name {
			return v.Value
		}
	}
	t.Fatalf("%s is not among %v", name, values)
	return 0
}

func TestCalibrationIsNumpys(t *testing.T) {
	g := loadGolden(t).Calibration
	row := func(i int) []float32 { return g.Logits[i*g.Classes : (i+1)*g.Classes] }
	for _, want := range g.Figures {
		c := &Calibration{}
		for i, label := range g.Labels {
			c.Add(row(i), want.Temperature, label)
		}
		for name, w := range map[string]float64{"ece": want.ECE, "adaptive_ece": want.Adaptive, "brier": want.Brier, "nll": want.NLL} {
			if got := valueOf(t, c.Metrics(), name); math.Abs(got-w) > 1e-6 {
				t.Errorf("temperature %g: %s is %g, want %g", want.Temperature, name, got, w)
			}
		}
		for i, b := range c.Reliability() {
			if b.N != want.Bins[i] {
				t.Errorf("temperature %g: bin %d holds %d, want %d", want.Temperature, i, b.N, want.Bins[i])
			}
		}
	}
	got := Temperature(len(g.Labels), func(i int) ([]float32, int) { return row(i), g.Labels[i] })
	if math.Abs(got-g.Best) > 1e-5 {
		t.Errorf("the best temperature is %g, want %g", got, g.Best)
	}
}

func TestBinsHaveTheirUpperEdge(t *testing.T) {
	c := &Calibration{confidence: []float64{0, 1. / 15, 2. / 15, .2, 1}, right: make([]bool, 5)}
	var got []int
	for i, b := range c.EqualWidths(15) {
		for range b.N {
			got = append(got, i)
		}
	}
	if len(got) != 5 || got[0] != 0 || got[1] != 0 || got[2] != 1 || got[3] != 2 || got[4] != 14 {
		t.Errorf("bins %v", got)
	}
}

func TestTemperatureOfWhatIsAlwaysRightEndsAtTheBorder(t *testing.T) {
	got := Temperature(1, func(int) ([]float32, int) { return []float32{1, 0}, 0 })
	if got > 1.001e-3 || got < .999e-3 {
		t.Errorf("%g", got)
	}
}

func TestRetrievalOfSeveralPositivesIsNumpys(t *testing.T) {
	g := loadGolden(t).Retrieval
	r := NewRetrieval(Alone(g.Candidates))
	for i, group := range g.Queries {
		r.Add(g.Scores[i*len(g.Candidates):(i+1)*len(g.Candidates)], group)
	}
	for name, want := range map[string]float64{"mAP@10": g.Map10, "R-precision": g.RPrecision, "MRR": g.MRR} {
		if got := valueOf(t, r.Metrics(), name); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s is %g, want %g", name, got, want)
		}
	}
}
