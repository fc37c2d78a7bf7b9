package eval_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/eval"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// The towers here know colours: a picture is the vector of its only pixel, a text the sum of the
// vectors of the colour names in it.
var colours = map[string][3]byte{"red": {255, 0, 0}, "green": {0, 255, 0}, "blue": {0, 0, 255}, "yellow": {255, 255, 0}, "white": {255, 255, 255}}

type tower struct {
	clip.Encoder
	batches []int
}

func (t *tower) Forward(_ context.Context, r clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	if r.Mode != clip.Eval {
		return nil, 0, fmt.Errorf("mode %d in an evaluation", r.Mode)
	}
	var rows [][3]float32
	if r.Images != nil {
		for i := range r.Images.Shape[0] {
			p := r.Images.U8()[3*i:]
			rows = append(rows, [3]float32{float32(p[0]), float32(p[1]), float32(p[2])})
		}
	}
	for _, text := range r.Texts {
		var sum [3]float32
		for _, word := range strings.Fields(text) {
			for d, v := range colours[word] {
				sum[d] += float32(v)
			}
		}
		rows = append(rows, sum)
	}
	if r.EMA { // the average takes red for green and green for red
		for i := range rows {
			rows[i][0], rows[i][1] = rows[i][1], rows[i][0]
		}
	}
	t.batches = append(t.batches, len(rows))
	out := tensor.New(tensor.F32, len(rows), 3)
	for i, row := range rows {
		norm := tensor.FromF32(row[:], 3)
		n := float32(0)
		for _, v := range norm.F32() {
			n += v * v
		}
		for d, v := range row {
			out.F32()[3*i+d] = v / sqrt(n)
		}
	}
	return out, 0, nil
}

func sqrt(x float32) float32 {
	r := max(x, 1)
	for range 40 {
		r = (r + x/r) / 2
	}
	return r
}

// paints has a sample per entry of colour; said is what the caption claims.
type paints struct {
	clip.Dataset
	colour, said []string
	groups       []int64
	limit        int   // the first so many samples only; 0: all
	broken       []int // are white, and reported
	negatives    [][]string
}

var classNames = []string{"red", "green", "blue", "yellow", "white"}

func (p *paints) info() clip.DatasetInfo {
	info := clip.DatasetInfo{Len: len(p.colour), Targets: []clip.Target{{Name: "label", Classes: classNames}}}
	if p.negatives != nil {
		info.Negatives = len(p.negatives[0])
	}
	return info
}

func (p *paints) Batch(_ context.Context, r clip.BatchRequest) (*clip.Batch, error) {
	b := &clip.Batch{Images: tensor.New(tensor.U8, len(r.Indices), 1, 1, 3), Labels: map[string][]int32{}}
	for i, index := range r.Indices {
		c := colours[p.colour[index]]
		if slices.Contains(p.broken, index) {
			c = colours["white"]
			b.Faults = append(b.Faults, clip.SampleFault{Index: index, Key: fmt.Sprint(index), Msg: "broken"})
		}
		copy(b.Images.U8()[3*i:], c[:])
		if r.Negatives && p.negatives != nil {
			b.Negatives = append(b.Negatives, p.negatives[index])
		}
		b.Keys = append(b.Keys, fmt.Sprint(index))
		b.Groups = append(b.Groups, p.groups[index])
		b.All = append(b.All, []string{p.said[index]})
		b.Labels["label"] = append(b.Labels["label"], int32(slices.Index(classNames, p.said[index])))
	}
	return b, nil
}

func evaluate(t *testing.T, cfg eval.Config, p *paints) (eval.Result, map[string]float64, *tower) {
	t.Helper()
	image := &tower{}
	cfg.MaxBadShare = 1
	res, err := eval.Run(t.Context(), cfg, eval.Parts{Source: eval.Source{Data: p, Info: p.info(), MaxSamples: p.limit}, Image: image, Text: &tower{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, m := range res.Metrics {
		values[m.Name] = m.Value
	}
	return res, values, image
}

func zeroShot(templates ...string) eval.Measure {
	return eval.ZeroShot{Target: "label", Templates: templates}
}

// predictions returns the outcomes of the classification by prompts.
func predictions(f eval.Figures) []clip.Prediction {
	for _, o := range f.Outcomes {
		if o.Of == "" {
			return o.Predictions
		}
	}
	return nil
}

func TestZeroShotCountsRightClasses(t *testing.T) {
	p := &paints{
		colour: []string{"red", "green", "blue", "red"},
		said:   []string{"red", "green", "red", "red"}, // the third caption is wrong
		groups: []int64{0, 1, 2, 0},
	}
	cfg := eval.Config{Name: "paint", BatchSize: 3, Measures: []eval.Measure{zeroShot("{}", "a picture of {}")}}
	res, got, image := evaluate(t, cfg, p)
	if got["eval/paint/top1"] != 0.75 || got["eval/paint/top5"] != 1 {
		t.Errorf("metrics %v, want top1 .75 and top5 1", got)
	}
	if got, want := got["eval/paint/mean_per_class_recall"], (2.0/3+1)/2; math.Abs(got-want) > 1e-9 {
		t.Errorf("mean per class recall %v, want %v", got, want)
	}
	if !slices.Equal(image.batches, []int{3, 1}) {
		t.Errorf("batches %v, want a shorter last one", image.batches)
	}
	if third := predictions(res.Figures)[2]; third.Key != "2" || third.Label != 0 || third.Top[0] != 2 || third.Score < 0.999 {
		t.Errorf("prediction %+v, want blue for a sample labelled red", third)
	}
}

func TestAnEnsembleAveragesItsPrompts(t *testing.T) {
	// "{} red" pulls every class towards red; with the plain prompt beside it, yellow stays nearest.
	p := &paints{colour: []string{"yellow"}, said: []string{"yellow"}, groups: []int64{0}}
	cfg := eval.Config{Name: "paint", BatchSize: 1, Measures: []eval.Measure{zeroShot("{}", "{} red")}}
	res, _, _ := evaluate(t, cfg, p)
	// cos of (1,1,0)/√2 with the mean of (1,1,0)/√2 and (2,1,0)/√5, normalised
	if got, want := predictions(res.Figures)[0].Score, float32(0.98709); predictions(res.Figures)[0].Top[0] != 3 || got < want-1e-4 || got > want+1e-4 {
		t.Errorf("prediction %+v, want class 3 with cosine %v", predictions(res.Figures)[0], want)
	}
}

func TestRetrievalTakesAnyPositiveOfTheGroup(t *testing.T) {
	p := &paints{
		colour: []string{"red", "red", "green", "blue"},
		said:   []string{"red", "red", "green", "white"},
		groups: []int64{0, 0, 1, 2},
	}
	_, got, _ := evaluate(t, eval.Config{Name: "paint", BatchSize: 8, Measures: []eval.Measure{eval.Retrieval{}}}, p)
	// "white" is as near to any picture: it is the only positive of blue, behind nothing but itself.
	for name, want := range map[string]float64{"image_to_text_R@1": 1, "text_to_image_R@1": 2.0 / 3} {
		if v := got["eval/paint/"+name]; math.Abs(v-want) > 1e-9 {
			t.Errorf("%s = %v, want %v (all: %v)", name, v, want, got)
		}
	}
}

func TestMaxSamplesEvaluatesTheFirstOnly(t *testing.T) {
	p := &paints{colour: []string{"red", "green", "blue"}, said: []string{"red", "red", "red"}, groups: []int64{0, 1, 2}, limit: 1}
	cfg := eval.Config{Name: "paint", BatchSize: 2, Measures: []eval.Measure{zeroShot("{}")}}
	if res, got, _ := evaluate(t, cfg, p); got["eval/paint/top1"] != 1 || len(predictions(res.Figures)) != 1 {
		t.Errorf("metrics %v over %d samples, want one right", got, len(predictions(res.Figures)))
	}
}

func TestAnUnknownTargetIsInvalidAndNamesTheTargets(t *testing.T) {
	p := &paints{}
	cfg := eval.Config{Name: "paint", BatchSize: 2, Measures: []eval.Measure{eval.ZeroShot{Target: "lable", Templates: []string{"{}"}}}}
	_, err := eval.Run(t.Context(), cfg, eval.Parts{Source: eval.Source{Data: p, Info: p.info()}, Image: &tower{}, Text: &tower{}}, nil)
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), "label") {
		t.Errorf("error %v", err)
	}
}

// What cannot be read is in no figure, and how many are left is said.
func TestUnreadableSamplesAreLeftOut(t *testing.T) {
	p := &paints{
		colour: []string{"red", "green", "blue", "red", "yellow"},
		said:   []string{"red", "green", "red", "red", "yellow"},
		groups: []int64{0, 1, 2, 3, 4}, broken: []int{1, 4},
	}
	cfg := eval.Config{Name: "paint", BatchSize: 2, Measures: []eval.Measure{zeroShot("{}"), eval.Retrieval{}}}
	res, got, image := evaluate(t, cfg, p)
	if want := 2.0 / 3; math.Abs(got["eval/paint/top1"]-want) > 1e-9 {
		t.Errorf("top1 %v, want %v", got["eval/paint/top1"], want)
	}
	for name, want := range map[string]float64{"n": 3, "left_out": 2, "left_out_share": 0.4} {
		if got["eval/paint/"+name] != want {
			t.Errorf("%s is %g, want %g", name, got["eval/paint/"+name], want)
		}
	}
	var keys []string
	for _, x := range predictions(res.Figures) {
		keys = append(keys, x.Key)
	}
	if !slices.Equal(keys, []string{"0", "2", "3"}) || res.Samples != (clip.Tally{Asked: 5, Bad: 2}) || len(res.Unreadable) != 2 {
		t.Errorf("predictions of %v, %+v, %+v", keys, res.Samples, res.Unreadable)
	}
	if !slices.Equal(image.batches, []int{2, 2}) { // the last batch has nothing left
		t.Errorf("batches %v", image.batches)
	}
	alone, only, _ := evaluate(t, cfg, &paints{colour: []string{"red", "blue", "red"}, said: []string{"red", "red", "red"}, groups: []int64{0, 2, 3}})
	for _, m := range alone.Metrics {
		if got[m.Name] != only[m.Name] {
			t.Errorf("%s is %v, of the readable samples alone %v", m.Name, got[m.Name], only[m.Name])
		}
	}
}

func TestAnEvaluationOfTooLittleFails(t *testing.T) {
	p := &paints{colour: []string{"red", "green", "blue"}, said: []string{"red", "green", "red"}, groups: []int64{0, 1, 2}, broken: []int{1, 2}}
	try := func(limit float64) error {
		_, err := eval.Run(t.Context(), eval.Config{Name: "paint", BatchSize: 2, MaxBadShare: limit, Measures: []eval.Measure{eval.Retrieval{}}},
			eval.Parts{Source: eval.Source{Data: p, Info: p.info()}, Image: &tower{}, Text: &tower{}}, nil)
		return err
	}
	if err := try(0.5); fault.KindOf(err) != fault.Corrupt || !strings.Contains(fault.Format(err), "2 of 3 samples (66.7 %)") || !strings.Contains(fault.Format(err), "max_bad_share") {
		t.Errorf("two of three: %v", err)
	}
	if err := try(0.7); err != nil {
		t.Errorf("two of three, allowed: %v", err)
	}
	p.broken = []int{0, 1, 2}
	if err := try(1); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "none of the 3") {
		t.Errorf("nothing left: %v", err)
	}
}

// Two pictures whose captions are equal are each other's positives where that is asked for; how many captions are is
// said in any case.
func TestEqualCaptionsCountAsPositivesWhereAsked(t *testing.T) {
	p := &paints{colour: []string{"red", "yellow", "blue"}, said: []string{"red", "red", "blue"}, groups: []int64{0, 1, 2}}
	cfg := eval.Config{Name: "paint", BatchSize: 8, Measures: []eval.Measure{eval.Retrieval{}}}
	res, apart, _ := evaluate(t, cfg, p)
	if res.Texts.Equal != 2 || res.Texts.Captions != 3 {
		t.Errorf("equal captions: %+v", res.Texts)
	}
	cfg.Measures = []eval.Measure{eval.Retrieval{EqualCaptions: true}}
	res, together, _ := evaluate(t, cfg, p)
	if res.Texts.Equal != 2 || res.Texts.Captions != 3 {
		t.Errorf("equal captions, counted as one: %+v", res.Texts)
	}
	if a, b := apart["eval/paint/image_to_text_R@1"], together["eval/paint/image_to_text_R@1"]; a != 1.0/3 || b != 1 {
		t.Errorf("image to text R@1 %v, with equal captions %v", a, b)
	}
	if a, b := apart["eval/paint/text_to_image_R@1"], together["eval/paint/text_to_image_R@1"]; a != 2.0/3 || b != 1 {
		t.Errorf("text to image R@1 %v, with equal captions %v", a, b)
	}
}

// Classes whose prompts have the same features cannot be told apart, whatever they are called.
func TestClassesThatLookAlikeAreNamed(t *testing.T) {
	p := &paints{colour: []string{"red"}, said: []string{"red"}, groups: []int64{0}}
	info := clip.DatasetInfo{Len: 1, Targets: []clip.Target{{Name: "label", Classes: []string{"red", "green", "red  red", "green"}}}}
	res, err := eval.Run(t.Context(), eval.Config{Name: "paint", BatchSize: 4, Measures: []eval.Measure{zeroShot("{}")}},
		eval.Parts{Source: eval.Source{Data: p, Info: info}, Image: &tower{}, Text: &tower{}}, nil)
	if err != nil || !slices.Equal(res.Alike, []eval.Twins{{0, 2}, {1, 3}}) {
		t.Errorf("alike %v (%v)", res.Alike, err)
	}
}

// Averaged weights give figures of their own beside those of the live ones, which stay what they are.
func TestAveragedWeightsAreMeasuredToo(t *testing.T) {
	p := &paints{colour: []string{"red", "green", "blue", "blue"}, said: []string{"red", "green", "blue", "red"}, groups: []int64{0, 1, 2, 3}}
	cfg := eval.Config{Name: "paint", BatchSize: 3, Measures: []eval.Measure{zeroShot("{}"), eval.Retrieval{}}}
	plain, live, _ := evaluate(t, cfg, p)
	if plain.Averaged != nil {
		t.Errorf("averages that nobody asked for: %+v", plain.Averaged)
	}
	for _, c := range []struct {
		image, text bool
		top1        float64
	}{{true, false, .25}, {false, true, .25}, {true, true, .75}} {
		cfg.Average.Image, cfg.Average.Text = c.image, c.text
		res, got, _ := evaluate(t, cfg, p)
		if !maps.Equal(got, live) || !reflect.DeepEqual(predictions(res.Figures), predictions(plain.Figures)) || res.Texts != plain.Texts {
			t.Errorf("%+v: the live figures are %v, without averages %v", c, got, live)
		}
		found := map[string]float64{}
		for _, m := range res.Averaged.Metrics {
			found[m.Name] = m.Value
		}
		if found["eval/paint@ema/top1"] != c.top1 || len(found) != len(live) || len(predictions(*res.Averaged)) != len(p.colour) {
			t.Errorf("%+v: %v, want top1 %g", c, found, c.top1)
		}
	}
}
