package build

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/data/build/ledger"
	"tandem/core/data/filter"
	"tandem/core/fault"
	"tandem/core/files/leftover"
	"tandem/core/media/vision"
)

//go:embed report.html
var reportPage string

var reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{"count": count, "percent": percent}).Parse(reportPage))

const (
	thumbSide      = 112 // pixels
	examplesKept   = 24
	examplesEach   = 6 // of each reason
	examplesReason = 40
)

// step is one filter of the waterfall.
type step struct {
	Name    string
	Before  int
	Refused int
	After   int
	Reasons []ledger.Count
	Left    float64 // percent of all candidates that stay
	Lost    float64 // percent of all candidates that it refuses
}

type example struct {
	Thumb   template.URL
	Caption string
	Kind    string
	Size    string
	Page    string
	Note    string
}

type gallery struct {
	Name     string
	Count    int
	Examples []example
}

type bar struct {
	Label string
	Count int
	Wide  float64 // percent of the largest
}

type reportData struct {
	*Summary
	Name    string
	Steps   []step
	Kept    gallery
	Refused []gallery
	Kinds   []bar
	Sides   []bar
	Words   []bar
	Skips   map[string][]ledger.Skipped
	Order   []string
	Text    string
}

// Report writes report.html of a folder that was built, or of what is built of it so far.
func Report(ctx context.Context, c *Config, w Watcher) (path string, err error) {
	if !IsBuilt(c.Out) {
		return "", fault.New(fault.NotFound, "no set was built in %s", c.Out)
	}
	o := *c
	b := &builder{config: &o, watch: w, threads: 1}
	leave, err := b.enter()
	if err != nil {
		return "", err
	}
	defer leave()
	if b.ledger, err = ledger.Open(filepath.Join(c.Out, work, "ledger.db")); err != nil {
		return "", err
	}
	defer b.ledger.Close()
	store, err := newStore(ctx)
	if err != nil {
		return "", err
	}
	defer store.Close()
	if b.sources, err = openSources(ctx, c, store, b.blobs); err != nil {
		return "", err
	}
	defer closeSources(b.sources)
	return filepath.Join(c.Out, "report.html"), b.report(ctx)
}

// report writes report.html.
func (b *builder) report(ctx context.Context) error {
	s, err := b.summary()
	if err != nil {
		return err
	}
	d := reportData{Summary: s, Name: filepath.Base(b.config.Out), Steps: waterfall(s), Skips: map[string][]ledger.Skipped{}}
	for _, x := range s.Skipped {
		d.Skips[x.Stage] = append(d.Skips[x.Stage], x)
	}
	d.Order = []string{"records", "pages", "entries", "pictures", "texts"}
	if d.Kept, err = b.gallery(ctx, "", "", examplesKept); err != nil {
		return err
	}
	d.Kept.Count = s.Kept
	for i, r := range s.Refused {
		if i >= examplesReason {
			break
		}
		g, err := b.gallery(ctx, r.Filter, r.Reason, examplesEach)
		if err != nil {
			return err
		}
		g.Name, g.Count = r.Filter+": "+r.Reason, r.Count
		d.Refused = append(d.Refused, g)
	}
	if err := b.histograms(ctx, &d); err != nil {
		return err
	}
	var page bytes.Buffer
	if err := reportTemplate.Execute(&page, d); err != nil {
		return fault.New(fault.Internal, "report: %w", err)
	}
	_, err = leftover.Replace(filepath.Join(b.config.Out, "report.html"), func(f *os.File) error {
		_, err := f.Write(page.Bytes())
		return err
	})
	return err
}

// waterfall orders what the filters refused.
func waterfall(s *Summary) (steps []step) {
	left := s.Candidates
	for _, name := range order() {
		x := step{Name: name, Before: left}
		for _, r := range s.Refused {
			if r.Filter == name {
				x.Refused += r.Count
				x.Reasons = append(x.Reasons, r)
			}
		}
		if x.Refused == 0 {
			continue
		}
		left -= x.Refused
		x.After = left
		x.Left, x.Lost = share(x.After, s.Candidates), share(x.Refused, s.Candidates)
		steps = append(steps, x)
	}
	return steps
}

func share(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }

// gallery returns examples of what was kept, or refused for a reason.
func (b *builder) gallery(ctx context.Context, name, reason string, n int) (g gallery, err error) {
	found, err := b.ledger.Examples(name, reason, n)
	if err != nil {
		return g, err
	}
	for _, c := range found {
		if ctx.Err() != nil {
			return g, fault.New(fault.Canceled, "%w", ctx.Err())
		}
		e := example{Caption: c.Caption, Kind: c.Kind, Page: c.Page}
		if c.Caption == "" && len(c.Texts) > 0 {
			e.Caption, e.Kind = c.Texts[0].Text, c.Texts[0].Kind
		}
		if c.Twin > 0 {
			e.Note = fmt.Sprintf("as candidate %d", c.Twin)
		}
		if c.Score != nil {
			e.Note = fmt.Sprintf("similarity %.3f", *c.Score)
		}
		e.Caption = cutText(e.Caption, 160)
		if c.Picture > 0 {
			p, err := b.ledger.PictureOf(c.Picture)
			if err != nil {
				return g, err
			}
			if p.W > 0 {
				e.Size = fmt.Sprintf("%d × %d", p.W, p.H)
				e.Thumb = b.thumb(ctx, p)
			}
		} else {
			e.Thumb, e.Size = b.found(ctx, c)
		}
		g.Examples = append(g.Examples, e)
	}
	return g, nil
}

// found returns the picture of a candidate that was refused by its texts, when a source has it.
func (b *builder) found(ctx context.Context, c *ledger.Candidate) (thumb template.URL, size string) {
	p := &ledger.Picture{}
	if err := b.ledger.Update(ctx, func(tx *ledger.Tx) error {
		address, at, _, reason, err := b.locate(tx, c.URLs)
		if err == nil && reason == "" && at.Kind != "web" {
			p.URL, p.Place = address, at
		}
		return err
	}); err != nil || p.URL == "" {
		return "", ""
	}
	return b.thumb(ctx, p), ""
}

// thumb returns a small JPEG of a picture as an address; "" when it cannot be read.
func (b *builder) thumb(ctx context.Context, p *ledger.Picture) template.URL {
	data, err := b.bytesOf(ctx, p)
	if err != nil {
		return ""
	}
	pic, err := vision.Decode(data, vision.Options{})
	if err != nil {
		return ""
	}
	if long := max(pic.W, pic.H); long > thumbSide {
		small := vision.NewPicture(max(1, pic.W*thumbSide/long), max(1, pic.H*thumbSide/long))
		new(vision.Resizer).Resize(small.Pix, pic, small.W, small.H)
		pic = small
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, pic.Image(), &jpeg.Options{Quality: 75}); err != nil {
		return ""
	}
	return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(out.Bytes()))
}

// histograms counts the shorter sides and the words of what was kept.
func (b *builder) histograms(ctx context.Context, d *reportData) error {
	sides, words := []int{64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 1 << 30}, []int{2, 4, 6, 8, 12, 16, 24, 32, 48, 1 << 30}
	bySide, byWords := make([]int, len(sides)), make([]int, len(words))
	put := func(counts, edges []int, v int) {
		at := slices.IndexFunc(edges, func(e int) bool { return v <= e })
		counts[at]++
	}
	for p, err := range b.ledger.Pairs(ctx, ledger.Kept, ledger.Written) {
		if err != nil {
			return err
		}
		put(bySide, sides, min(p.Image.W, p.Image.H))
		put(byWords, words, filter.Words(p.Caption))
	}
	d.Sides, d.Words = bars(bySide, sides), bars(byWords, words)
	for _, k := range d.Summary.Kinds {
		d.Kinds = append(d.Kinds, bar{Label: k.Filter, Count: k.Count})
	}
	widen(d.Kinds)
	return nil
}

func bars(counts, edges []int) (all []bar) {
	for i, n := range counts {
		label := fmt.Sprintf("≤ %d", edges[i])
		if edges[i] == 1<<30 {
			label = fmt.Sprintf("> %d", edges[i-1])
		}
		all = append(all, bar{Label: label, Count: n})
	}
	for len(all) > 0 && all[len(all)-1].Count == 0 {
		all = all[:len(all)-1]
	}
	widen(all)
	return all
}

func widen(all []bar) {
	most := 1
	for _, b := range all {
		most = max(most, b.Count)
	}
	for i := range all {
		all[i].Wide = 100 * float64(all[i].Count) / float64(most)
	}
}

func cutText(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// count writes a number with commas between thousands.
func count(n int) string {
	s := fmt.Sprint(n)
	var parts []string
	for len(s) > 3 {
		parts = append([]string{s[len(s)-3:]}, parts...)
		s = s[:len(s)-3]
	}
	return strings.Join(append([]string{s}, parts...), ",")
}

func percent(v float64) string {
	if v > 0 && v < 0.1 {
		return "< 0.1 %"
	}
	return fmt.Sprintf("%.1f %%", v)
}
