package page

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

const top1 = "eval/emoji/top1"

// hostile names something in a way that must not get out of wherever it is written.
const hostile = `</script><b onclick='x()'>"&<!--`

// study holds an experiment in memory.
type study struct {
	experiment ablation.Experiment
	runs       map[string]*store.RunDetail
	cells      []results.Cell
	guesses    map[string][]clip.Prediction
}

func newStudy(name, baseline string) *study {
	return &study{
		experiment: ablation.Experiment{Name: name, Design: "one-at-a-time", Baseline: baseline, Metrics: []ablation.Metric{{Name: top1, Direction: metric.Up}, {Name: "eval/emoji/mean_rank", Direction: metric.Down}}},
		runs:       map[string]*store.RunDetail{}, guesses: map[string][]clip.Prediction{},
	}
}

// add runs a variant under seeds from 0 on. Of 40 examples of 8 classes the model of value v has the first 40·v right, and takes the others for
// the next class.
func (s *study) add(variant string, values ...float64) {
	for seed, v := range values {
		id := fmt.Sprintf("r%d%02d", seed, len(s.cells))
		samples := 6400.0
		images := 800.0
		d := &store.RunDetail{RunInfo: store.RunInfo{ID: id, Experiment: s.experiment.Name, Variant: variant, Seed: int64(seed), Status: "done", DurationS: 50 + v, SamplesSeen: &samples, ImagesPerS: &images, Device: "host"},
			Host: "vm", Cores: 2, GitCommit: "abc", Libraries: json.RawMessage(`{"image":"host"}`), Spec: "name: " + s.experiment.Name,
			Facts:       map[string]any{"flops.image": 1e6, "flops.text": 2e6, "parameters.text.trained": int64(0)},
			Params:      map[string]any{"seed": int64(seed), "variant": variant, "train.lr": 1e-3},
			Metrics:     map[string]store.Series{top1: {Last: store.Number(v)}},
			Plugins:     []store.Plugin{{Role: "image", Name: "encoders/vit", Version: "1", SHA256: "0123456789abcdef"}},
			Predictions: []store.PredictionInfo{{Step: 100, Evaluation: "emoji", Target: "label", N: 40}}}
		if variant != s.experiment.Baseline {
			d.Params["train.lr"] = 2e-3
		}
		s.runs[id] = d
		s.cells = append(s.cells, results.Cell{Variant: variant, Seed: int64(seed), Planned: true, Done: true, RunID: id, Status: "done"})
		s.experiment.Cells = append(s.experiment.Cells, ablation.Cell{Cell: results.Cell{Variant: variant, Seed: int64(seed), RunID: id, Status: "done", Done: true}, Values: map[string]float64{top1: v, "eval/emoji/mean_rank": 9 - v}})
		for i := range 40 {
			p := clip.Prediction{Key: fmt.Sprintf("key/%d", i), Label: int32(i % 8), Top: []int32{int32((i + 1) % 8), int32(i % 8)}, Score: float32(i) / 40}
			if float64(i) < 40*v {
				p.Top = []int32{int32(i % 8), int32((i + 1) % 8)}
			}
			s.guesses[id] = append(s.guesses[id], p)
		}
	}
}

func (s *study) Cells(context.Context, string) ([]results.Cell, error) { return s.cells, nil }

func (s *study) Get(_ context.Context, id string) (*store.RunDetail, error) { return s.runs[id], nil }

func (s *study) Summaries(_ context.Context, ids []string, _ string) (map[string]*store.RunDetail, error) {
	all := map[string]*store.RunDetail{}
	for _, id := range ids {
		all[id] = s.runs[id]
	}
	return all, nil
}

func (s *study) ParamsOf(_ context.Context, ids []string) (map[string]map[string]any, error) {
	all := map[string]map[string]any{}
	for _, id := range ids {
		all[id] = s.runs[id].Params
	}
	return all, nil
}

func (s *study) CurvesOf(_ context.Context, ids []string, name string, _, _ int) (store.Curves, error) {
	c := store.Curves{Of: map[string]results.Curve{}}
	for _, id := range ids {
		if points := s.curve(id, name); len(points) > 0 {
			c.Of[id], c.Low, c.High, c.Longest = points, points[0].Step, points[len(points)-1].Step, len(points)
		}
	}
	return c, nil
}

func (s *study) curve(id, name string) (points results.Curve) {
	last := float64(s.runs[id].Metrics[top1].Last)
	switch name {
	case top1:
		for i := 1; i <= 4; i++ {
			points = append(points, results.Point{Step: 25 * i, Value: (last * float64(i) / 4)})
		}
	case metric.TrainLoss:
		for i := 1; i <= 1000; i++ {
			points = append(points, results.Point{Step: i, Value: (5 - last*float64(i)/1000)})
		}
	}
	return points
}

func (s *study) Predictions(_ context.Context, id, _, _ string, _ int) ([]clip.Prediction, error) {
	if s.guesses[id] == nil {
		return nil, fault.New(fault.NotFound, "none")
	}
	return s.guesses[id], nil
}

func (s *study) page(t *testing.T, albums Albums) *Page {
	t.Helper()
	table, err := ablation.Analyse(s.experiment, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Gather(context.Background(), s, albums, table, "2026-11-25 by a test")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func written(t *testing.T, p *Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// eight classes, the second with a hostile name, and a blue square for every example.
func album(_ context.Context, _ *store.RunDetail, _, _ string, side int, indices []int, keys []string) (*Album, error) {
	a := &Album{Classes: []string{"cat", hostile, "dog", "sun", "moon", "tree", "fish", "boat"}}
	for i, index := range indices {
		if keys[i] != fmt.Sprintf("key/%d", index) {
			return nil, errors.New("keys are not beside their indices")
		}
		m := image.NewRGBA(image.Rect(0, 0, side, side))
		for p := range side * side {
			m.SetRGBA(p%side, p/side, color.RGBA{0, 0, 255, 255})
		}
		a.Pictures = append(a.Pictures, m)
	}
	return a, nil
}

// content returns the page without scripts and styles, and the text of these.
func content(html string) (markup string, inside []string) {
	elements := regexp.MustCompile(`(?s)<(script|style)([^>]*)>(.*?)</(script|style)>`)
	for _, m := range elements.FindAllStringSubmatch(html, -1) {
		inside = append(inside, m[3])
	}
	return elements.ReplaceAllString(html, "<$1$2></$1>"), inside
}

func TestThePageIsWholeAndNeedsNothingBesideIt(t *testing.T) {
	s := newStudy(hostile, hostile+" base")
	s.experiment.Description = hostile
	s.add(hostile+" base", .5, .52, .49, .51)
	s.add("lr="+hostile, .6, .63, .58, .62)
	html := written(t, s.page(t, album))
	if len(html) >= 3e6 {
		t.Errorf("the page has %d bytes, want under 3 MB", len(html))
	}
	markup, scripts := content(html)
	if len(scripts) != 5 {
		t.Errorf("a style, the data and 3 scripts are %d elements", len(scripts))
	}
	if strings.Contains(markup, "<b onclick") || strings.Contains(markup, "<!--") {
		t.Error("a hostile name got into the markup")
	}
	var data charts
	if err := json.Unmarshal([]byte(scripts[1]), &struct{ Variants *[]chartVariant }{&data.Variants}); err != nil {
		t.Fatalf("the charts' data: %v", err)
	}
	if len(data.Variants) != 2 || data.Variants[1].Name != "lr="+hostile {
		t.Errorf("the charts' variants are %+v", data.Variants)
	}
	if links := regexp.MustCompile(`(src|href)="[^"]*"`).FindAllString(markup, -1); len(links) < 20 {
		t.Errorf("only %d links and pictures", len(links))
	} else {
		for _, l := range links {
			if !strings.Contains(l, `="#`) && !strings.Contains(l, `="data:`) {
				t.Errorf("the page refers to %s", l)
			}
		}
	}
	for _, url := range regexp.MustCompile(`(url\(|@import|fetch\(|XMLHttpRequest|importScripts).{0,40}`).FindAllString(scripts[0]+scripts[4], -1) {
		t.Errorf("style or script fetches: %s", url)
	}
	if !strings.Contains(markup, `default-src &#39;none&#39;`) && !strings.Contains(markup, `default-src 'none'`) {
		t.Error("no content security policy")
	}
	balanced(t, markup)
}

// balanced reads the markup as XML, in which every element must end where it should.
func balanced(t *testing.T, markup string) {
	t.Helper()
	void := regexp.MustCompile(`<(meta|link|img|br)\b([^>]*)>`)
	d := xml.NewDecoder(strings.NewReader(void.ReplaceAllString(strings.TrimPrefix(markup, "<!DOCTYPE html>"), "<$1$2/>")))
	ids := map[string]bool{}
	var targets []string
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the markup: %v", err)
		}
		e, is := token.(xml.StartElement)
		if !is {
			continue
		}
		for _, a := range e.Attr {
			switch {
			case a.Name.Local == "id" && ids[a.Value]:
				t.Errorf("id %s twice", a.Value)
			case a.Name.Local == "id":
				ids[a.Value] = true
			case a.Name.Local == "href" && strings.HasPrefix(a.Value, "#"):
				targets = append(targets, a.Value[1:])
			}
		}
	}
	for _, target := range targets {
		if !ids[target] {
			t.Errorf("a link leads to #%s, which is not there", target)
		}
	}
}

func TestTheAnswerSaysWhatTheTableShows(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   string
	}{
		{"better", []float64{.6, .63, .59, .62}, "larger is better than the baseline: emoji/top1 61.0 % on average of 4 seeds, +10.5 pt [+9.6 pt, +11.4 pt] over 4 pairs of seeds."},
		{"worse", []float64{.4, .43, .39, .42}, "No variant is shown to be better than the baseline; larger is worse by 9.5 pt."},
		{"no difference", []float64{.52, .51, .48, .52}, "No difference from the baseline is shown."},
		{"too few seeds", []float64{.6, .63}, "Not enough seeds to tell."},
		{"nothing", nil, "base reaches emoji/top1 50.5 % on average of 4 seeds; no other variant has finished runs."},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStudy("study", "base")
			s.add("base", .5, .52, .49, .51)
			s.add("larger", c.values...)
			if got := answer(s.page(t, nil)).Headline; got != c.want {
				t.Errorf("%q\nwant %q", got, c.want)
			}
		})
	}
	many := newStudy("study", "base")
	many.add("base", .5)
	for i := range 11 {
		many.add(fmt.Sprint(i), .5)
	}
	if a := answer(many.page(t, nil)); len(a.Lines) != mostFindings || a.Left != 11-mostFindings {
		t.Errorf("of 11 variants %d have a line and %d are left", len(a.Lines), a.Left)
	}
	s := newStudy("search", "")
	s.add("a", .5)
	s.add("b", .6)
	if got := answer(s.page(t, nil)).Headline; got != "b has the best mean, emoji/top1 60.0 %; without a baseline nothing is tested." {
		t.Errorf("a ranking: %q", got)
	}
}

func TestCurvesAreMeansOverSeedsWithTheirRange(t *testing.T) {
	points := func(values ...float64) (p results.Curve) {
		for i, v := range values {
			p = append(p, results.Point{Step: 10 * (i + 1), Value: (v)})
		}
		return p
	}
	s := merge([]results.Curve{points(1, 2, math.NaN(), 4, 9), points(3, 6, 5, 6)}, func(step int) int { return step })
	if got, want := fmt.Sprint(s.Steps, s.Mean, s.Low, s.High), "[10 20 40] [2 4 5] [1 2 4] [3 6 6]"; got != want {
		t.Errorf("got %s, want %s: only steps that every seed has", got, want)
	}
	two := merge([]results.Curve{points(1, 2, 3, 5)}, func(step int) int { return step / 30 })
	if got, want := fmt.Sprint(two.Steps, two.Mean), "[15 35] [1.5 4]"; got != want {
		t.Errorf("bins: %s, want %s", got, want)
	}
}

func TestLongCurvesAreThinned(t *testing.T) {
	s := newStudy("study", "base")
	s.add("base", .5, .6)
	p := s.page(t, nil)
	if len(p.Curves) != 2 || p.Curves[1].Metric != metric.TrainLoss || !p.Curves[1].Binned || len(p.Curves[1].Series[0].Steps) != bins {
		t.Fatalf("1000 points of the loss are not %d bins: %d curves", bins, len(p.Curves))
	}
	if l := learning(p.Curves[1]); len(l.Rows) != 12 || l.Rows[11].Step < 990 {
		t.Errorf("the loss as a table has %d rows, the last of step %v", len(l.Rows), l.Rows[len(l.Rows)-1].Step)
	}
}

func TestConfusionsAndExamplesCountEveryModel(t *testing.T) {
	s := newStudy("study", "base")
	s.add("base", .5, .5)
	s.add("larger", 1, .75)
	o := s.page(t, album).Outcome
	if len(o.Sides) != 2 || o.Sides[1].Variant != "larger" || o.Examples != 40 || o.Classes != 8 {
		t.Fatalf("outcome %+v", o)
	}
	m := o.Sides[0].Matrix
	if m == nil || m.Reduced || m.Share[0][0] != 3./5 || m.Share[0][1] != 2./5 { // class 0: examples 0 8 16 24 32, the last two wrong
		t.Errorf("the baseline's matrix is %+v", m)
	}
	if p := o.Pairs[0]; p.Label != 6 || p.Guess != 7 || p.Examples != 5 || p.Rates[0] != 3./5 || p.Rates[1] != 1./5 {
		t.Errorf("most confused: %+v", o.Pairs)
	}
	titles := ""
	for _, g := range o.Groups {
		titles += fmt.Sprintf("%s: %d; ", g.Title, g.Of)
	}
	if want := "Right more often with larger: 20; Right with every model, the surest first: 20; "; titles != want {
		t.Errorf("groups %s\nwant %s", titles, want)
	}
	if v := o.Groups[0].Shown[0].Votes; v[0][0].Models != 2 || v[0][0].Right || !v[1][0].Right {
		t.Errorf("votes %+v", v)
	}
	if !strings.HasPrefix(string(o.Picture(o.Groups[0].Shown[0].Index)), "data:image/png;base64,") {
		t.Error("an example has no picture")
	}
}

func TestManyClassesAreReducedToThoseConfusedMost(t *testing.T) {
	o := &Outcome{Examples: 400, Classes: 40, Sides: []Side{{Variant: "v", rows: make([][]clip.Prediction, 1)}}}
	for i := range 400 {
		p := clip.Prediction{Label: int32(i % 40), Top: []int32{int32(i % 40)}}
		if i%40 >= 30 && i >= 200 {
			p.Top[0] = 30
		}
		o.Sides[0].rows[0] = append(o.Sides[0].rows[0], p)
	}
	confuse(o)
	m := o.Sides[0].Matrix
	if m == nil || !m.Reduced || m.Classes[0] != 30 || len(m.Classes) != 10 || len(m.Share[1]) != 11 || m.Share[1][0] != .5 || m.Share[1][1] != .5 {
		t.Errorf("matrix %+v", m)
	}
}

func TestAPageWithoutItsDataSaysSo(t *testing.T) {
	s := newStudy("study", "base")
	s.add("base", .5, .52, .49)
	gone := func(context.Context, *store.RunDetail, string, string, int, []int, []string) (*Album, error) {
		return nil, fault.New(fault.NotFound, "no plugin datasets/emoji").WithHint("build it")
	}
	html := written(t, s.page(t, gone))
	if !strings.Contains(html, "could not be opened (no plugin datasets/emoji)") || !strings.Contains(html, "class 3") || !strings.Contains(html, "key/3") || strings.Contains(html, "Found by name") {
		t.Error("the page does not say that there are no pictures, or what is shown without them")
	}
	s.guesses = map[string][]clip.Prediction{}
	if html := written(t, s.page(t, album)); strings.Contains(html, `id="confusions"`) {
		t.Error("confusions without predictions")
	}
}

func TestAnExperimentThatHasNotBegunHasAPage(t *testing.T) {
	s := newStudy("study", "base")
	s.cells = []results.Cell{{Variant: "base", Planned: true}}
	s.experiment.Cells = []ablation.Cell{{Cell: results.Cell{Variant: "base"}}}
	html := written(t, s.page(t, album))
	if !strings.Contains(html, "No run is finished yet") || !strings.Contains(html, "0 of 1") {
		t.Error("the page does not say that nothing is finished")
	}
	markup, _ := content(html)
	balanced(t, markup)
}

func TestFLOPsCountAFrozenTowerOnce(t *testing.T) {
	s := newStudy("study", "base")
	s.add("base", .5)
	if got := s.page(t, nil).Runs[0].FLOPs; got != 6400*(3*1e6+2e6) {
		t.Errorf("%g", got)
	}
}

func TestSettingsThatDifferAreListed(t *testing.T) {
	s := newStudy("study", "base")
	s.add("base", .5)
	s.add("fast", .5)
	specs := s.page(t, nil).Specs
	if specs.Variant != "base" || len(specs.Others) != 1 || fmt.Sprint(specs.Others[0].Settings) != "[{train.lr 0.001 0.002}]" {
		t.Errorf("%+v", specs)
	}
}

func TestADifferentBuildIsWarnedOf(t *testing.T) {
	s := newStudy("study", "base")
	s.add("base", .5, .6)
	s.runs["r101"].Plugins[0].SHA256 = "fedcba9876543210"
	if w := s.page(t, nil).Warnings; len(w) != 1 || w[0] != "Not all runs used the same build of encoders/vit." {
		t.Errorf("%q", w)
	}
}

// What runs recorded as warnings stands on the page, once for each kind.
func TestRecordedWarningsAreOnThePage(t *testing.T) {
	s := newStudy("study", "base")
	s.add("base", .5, .6)
	ids := slices.Sorted(maps.Keys(s.runs))
	for _, id := range ids {
		s.runs[id].Events = []store.Event{
			{Step: 1, Level: "warning", Kind: "samples_replaced", Message: "1 of 8"}, {Step: 2, Level: "info", Kind: "note", Message: "fine"},
			{Step: 3, Level: "warning", Kind: "collapsed", Message: "at chance"}, {Step: 9, Level: "warning", Kind: "samples", Message: "7 of 80"},
		}
	}
	want := []string{"run " + ids[0] + " and 1 more: at chance.", "run " + ids[0] + " and 1 more: 7 of 80."}
	if w := s.page(t, nil).Warnings; !slices.Equal(w, want) {
		t.Errorf("%q, want %q", w, want)
	}
}
