package curves

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"tandem/core/fault"
	"tandem/core/results/decimate"
	"tandem/core/results/store"
)

// One metric of one run.
type One struct{ Run, Metric string }

// mostCurves limits the curves of one answer. Where there are more than a few, they have so many columns together.
const (
	mostCurves = 256
	few        = 16
	widthOfAll = 16_000
)

// Ask is what the script asks for.
type Ask struct {
	X        string // step, samples, time
	From, To int    // steps; -1: the end
	Width    int    // columns
	Lead     int    // points before From that smoothing begins with
}

// ParseAsk reads an address. Errors: fault.Invalid.
func ParseAsk(q url.Values) (a Ask, err error) {
	a = Ask{X: q.Get("x"), From: -1, To: -1, Width: 800}
	if a.X == "" {
		a.X = "step"
	}
	if a.X != "step" && a.X != "samples" && a.X != "time" {
		return a, fault.New(fault.Invalid, "x is %q", a.X).WithHint("one of step, samples, time")
	}
	for name, to := range map[string]*int{"from": &a.From, "to": &a.To, "width": &a.Width, "lead": &a.Lead} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 1<<52 {
			return a, fault.New(fault.Invalid, "%s is %q", name, text).WithHint("a number from 0 on")
		}
		*to = n
	}
	if a.To >= 0 && a.From > a.To {
		return a, fault.New(fault.Invalid, "from is %d and to is %d", a.From, a.To).WithHint("give a from that is not beyond to")
	}
	a.Lead = min(a.Lead, 100_000)
	return a, nil
}

// Serve writes the curves that were asked for as JSON. NaN and infinities are null; their columns are in bad, and their numbers are told.
func Serve(w http.ResponseWriter, r *http.Request, reader *store.Reader, d *decimate.Decimator, curves []One) error {
	a, err := ParseAsk(r.URL.Query())
	if err != nil {
		return err
	}
	if len(curves) > mostCurves {
		return fault.New(fault.Invalid, "%d curves are asked for", len(curves)).WithHint("%d at most", mostCurves)
	}
	if len(curves) > few {
		a.Width = min(a.Width, max(100, widthOfAll/len(curves)))
	}
	out := []byte(`{"x":` + strconv.Quote(a.X) + `,"series":[`)
	axes := map[string]func(int) float64{}
	for i, c := range curves {
		axis, ok := axes[c.Run]
		if !ok {
			if axis, err = a.axis(r.Context(), reader, d, c.Run); err != nil {
				return err
			}
			axes[c.Run] = axis
		}
		curve, err := a.read(r.Context(), d, c)
		if err != nil {
			return err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = appendCurve(out, curve, axis)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(out, "]}\n"...)) // the client may be gone
	return nil
}

func (a Ask) read(ctx context.Context, d *decimate.Decimator, c One) (decimate.Curve, error) {
	from, width := a.From, a.Width
	if a.Lead > 0 && from > 0 {
		e, err := d.Extent(ctx, c.Run, c.Metric)
		if err != nil {
			return decimate.Curve{}, err
		}
		to := a.To
		if to < 0 || to > e.Last {
			to = e.Last
		}
		gap := float64(e.Last-e.First) / float64(max(1, e.N-1))
		before := max(e.First, from-int(float64(a.Lead)*gap))
		if before < from && to > from {
			width = int(min(decimate.Widest, float64(width)*float64(to-before)/float64(to-from)))
			from = before
		}
	}
	return d.Curve(ctx, c.Run, c.Metric, from, a.To, width)
}

// axis returns what makes places on the axis of steps; nil: steps themselves.
func (a Ask) axis(ctx context.Context, reader *store.Reader, d *decimate.Decimator, run string) (func(int) float64, error) {
	if a.X == "step" {
		return nil, nil
	}
	batch, err := reader.BatchSize(ctx, run)
	if err != nil {
		return nil, err
	}
	if a.X == "samples" {
		if batch <= 0 {
			return nil, fault.New(fault.Invalid, "run %s tells no train.batch_size, so its samples are not known", run).WithHint("x=step shows steps")
		}
		return func(step int) float64 { return batch * float64(step) }, nil
	}
	k, err := d.Clock(ctx, run, batch)
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, fault.New(fault.Invalid, "run %s records no throughput, so the time of its steps is not known", run).WithHint("x=step shows steps")
	}
	return k.At, nil
}

func appendCurve(out []byte, c decimate.Curve, axis func(int) float64) []byte {
	nan, above, below := c.Count()
	for _, f := range []struct {
		name string
		n    int
	}{{`{"first":`, c.First}, {`,"last":`, c.Last}, {`,"points":`, c.N}, {`,"size":`, max(1, c.Size)}, {`,"nan":`, nan}, {`,"above":`, above}, {`,"below":`, below}} {
		out = strconv.AppendInt(append(out, f.name...), int64(f.n), 10)
	}
	numbers := func(name string, of func(store.Column) float64) {
		out = append(out, name...)
		for i, x := range c.Columns {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendNumber(out, of(x))
		}
		out = append(out, ']')
	}
	numbers(`,"step":[`, func(x store.Column) float64 { return float64(x.Step) })
	if axis != nil {
		numbers(`,"x":[`, func(x store.Column) float64 { return axis(x.Step) })
	}
	numbers(`,"mean":[`, func(x store.Column) float64 { return x.Sum / float64(x.Finite()) }) // 0 / 0 is NaN
	numbers(`,"n":[`, func(x store.Column) float64 { return float64(x.N) })
	if c.Size > 1 {
		numbers(`,"min":[`, func(x store.Column) float64 { return x.Min })
		numbers(`,"max":[`, func(x store.Column) float64 { return x.Max })
	}
	out = append(out, `,"bad":[`...)
	first := true
	for i, x := range c.Columns {
		if x.Finite() == x.N {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = strconv.AppendInt(out, int64(i), 10)
	}
	return append(out, "]}"...)
}

func appendNumber(out []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(out, "null"...)
	}
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.AppendInt(out, int64(v), 10)
	}
	return strconv.AppendFloat(out, v, 'g', 8, 64)
}
