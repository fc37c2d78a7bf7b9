package towertest

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device/devicetest"
	"tandem/core/fault"
)

// Ranks checks that with synchronised normalisation ranks of 2, 2 and 2 samples compute what one rank computes of 6:
// embeddings, gradients and running statistics; that Eval exchanges nothing; and that without an Exchange SyncNorm
// changes no bit.
func (c Case) Ranks(t *testing.T) {
	const size, share = 3, 2
	sync := c.config(PlainSGD)
	sync.SyncNorm = true
	whole, alone := c.open(t, c.config(PlainSGD)), c.open(t, sync)
	want, ticket := whole.forward(whole.request(0, size*share, clip.Train))
	whole.backward(ticket, 0, size*share)
	got, ticket := alone.forward(alone.request(0, size*share, clip.Train))
	alone.backward(ticket, 0, size*share)
	if !slices.Equal(got, want) {
		t.Error("without an exchange SyncNorm changes embeddings")
	}
	gradients := whole.gradient()
	same(t, "without an exchange SyncNorm changes:", gradients, alone.gradient())

	all := devicetest.NewRanks(size)
	var parts [size]*session
	for r := range parts {
		parts[r] = c.open(t, sync)
		if err := parts[r].Encoder.(clip.Exchanger).Exchange(parts[r].ctx, func(_ context.Context, values []float64) error { return all.Sum(values) }); err != nil {
			t.Fatal(err)
		}
	}
	var embeddings [size][]float32
	forward := func(mode clip.Mode) (tickets [size]clip.Ticket) {
		err := all.Together(func(r int) error {
			out, ticket, err := parts[r].Forward(parts[r].ctx, parts[r].request(r*share, r*share+share, mode))
			if err == nil {
				embeddings[r], tickets[r] = out.F32(), ticket
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return tickets
	}
	forward(clip.Eval)
	if n := all.Times(); n != 0 {
		t.Errorf("%d exchanges in mode Eval", n)
	}
	tickets := forward(clip.Train)
	once := all.Times()
	nearly(t, "embeddings", slices.Concat(embeddings[:]...), want, 1e-5)
	if err := all.Together(func(r int) error {
		return parts[r].Backward(parts[r].ctx, tickets[r], cotangent(r*share, r*share+share))
	}); err != nil {
		t.Fatal(err)
	}
	if n := all.Times(); once == 0 || n != 2*once {
		t.Errorf("%d exchanges forward, %d backward", once, n-once)
	}
	var shares [size]map[string][]float32
	for r, p := range parts {
		shares[r] = p.gradient()
	}
	trained := whole.parameters()
	for name := range trained {
		g := gradients[name]
		sum := make([]float32, len(g))
		for _, s := range shares {
			for i, v := range s[name] {
				sum[i] += v
			}
		}
		nearly(t, "the gradient of "+name, sum, g, 1e-4)
	}
	after := Values(t, whole)
	for name, v := range Values(t, parts[0]) {
		if !trained[name] && !strings.HasPrefix(name, "optim.") { // a statistic
			nearly(t, name, v, after[name], 1e-5)
			if !slices.Equal(v, Values(t, parts[1])[name]) {
				t.Errorf("%s is not the same on two ranks", name)
			}
		}
	}
	wants(t, fault.Conflict, parts[0].Encoder.(clip.Exchanger).Exchange(parts[0].ctx, nil))
	forward(clip.Embed)
	if n := all.Times(); n != 3*once {
		t.Errorf("%d exchanges in mode Embed, want %d", n-2*once, once)
	}
	c.checkParts(t, sync, want, gradients, after)
	c.checkBrokenExchange(t, sync)
	c.checkSharedStatistics(t)
}

// checkParts demands of one request of 3 parts of 2 samples what one of 6 samples gives: these embeddings, gradients and values after.
func (c Case) checkParts(t *testing.T, sync clip.EncoderConfig, embeddings []float32, gradients, after map[string][]float32) {
	const parts, samples = 3, 6
	s := c.open(t, sync)
	req := s.request(0, samples, clip.Train)
	req.Parts = parts
	got, ticket := s.forward(req)
	nearly(t, "embeddings of parts", got, embeddings, 1e-5)
	s.backward(ticket, 0, samples)
	trained := s.parameters()
	for name, v := range s.gradient() {
		if trained[name] {
			nearly(t, "the gradient of parts of "+name, v, gradients[name], 1e-4)
		}
	}
	for name, v := range Values(t, s) {
		if !trained[name] && !strings.HasPrefix(name, "optim.") { // a statistic
			nearly(t, name+" of parts", v, after[name], 1e-5)
		}
	}
	req.Parts = 4
	_, _, err := s.Forward(s.ctx, req)
	wants(t, fault.Invalid, err)
	whole := c.open(t, c.config(PlainSGD))
	req.Parts = parts
	_, _, err = whole.Forward(whole.ctx, req)
	wants(t, fault.Invalid, err)
}

// checkSharedStatistics demands of ranks that normalise batches of their own that they give the embeddings of a rank alone, and that
// their running statistics are the mean of what they would be alone.
func (c Case) checkSharedStatistics(t *testing.T) {
	const size, share = 2, 3
	all := devicetest.NewRanks(size)
	var alone, together [size]*session
	var embeddings [size][]float32
	for r := range size {
		alone[r], together[r] = c.open(t, c.config(PlainSGD)), c.open(t, c.config(PlainSGD))
		if err := together[r].Encoder.(clip.Exchanger).Exchange(t.Context(), func(_ context.Context, values []float64) error { return all.Sum(values) }); err != nil {
			t.Fatal(err)
		}
		embeddings[r], _ = alone[r].forward(alone[r].request(r*share, (r+1)*share, clip.Train))
	}
	if err := all.Together(func(r int) error {
		out, _, err := together[r].Forward(t.Context(), together[r].request(r*share, (r+1)*share, clip.Train))
		if err == nil && !slices.Equal(out.F32(), embeddings[r]) {
			err = errors.New("an exchange of statistics changes embeddings")
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if n := all.Times(); n != 1 {
		t.Errorf("%d exchanges, want one in mode Train", n)
	}
	a, b, got := Values(t, alone[0]), Values(t, alone[1]), Values(t, together[0])
	differ := false
	for name, v := range a {
		mean := make([]float32, len(v))
		for i := range v {
			mean[i] = float32((float64(v[i]) + float64(b[name][i])) / 2)
		}
		nearly(t, name, got[name], mean, 1e-6)
		differ = differ || !slices.Equal(v, mean)
	}
	if !differ {
		t.Error("there are no statistics to share")
	}
	same(t, "ranks differ:", got, Values(t, together[1]))
}

// checkBrokenExchange demands that an error of the exchange ends a Forward, and that the encoder can still be saved.
func (c Case) checkBrokenExchange(t *testing.T, cfg clip.EncoderConfig) {
	s := c.open(t, cfg)
	gone := fault.New(fault.Exhausted, "rank 1 is gone")
	calls := 0
	if err := s.Encoder.(clip.Exchanger).Exchange(s.ctx, func(context.Context, []float64) error { calls++; return gone }); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Forward(s.ctx, s.request(0, 2, clip.Train))
	if !errors.Is(err, gone) || calls != 1 {
		t.Errorf("after %d calls: %v", calls, err)
	}
	if values := Values(t, s); len(values) == 0 {
		t.Error("nothing was saved")
	}
}

// nearly demands that values differ by at most a share of the largest, or of a tenth where that is less: some gradients are 0
// but for rounding.
func nearly(t *testing.T, what string, got, want []float32, share float64) {
	t.Helper()
	largest, worst := 0.0, 0.0
	for i := range want {
		largest, worst = math.Max(largest, math.Abs(float64(want[i]))), math.Max(worst, math.Abs(float64(got[i]-want[i])))
	}
	if len(got) != len(want) || !(worst <= share*math.Max(largest, .1)) {
		t.Errorf("%s: %d values differ by up to %.3g, the largest of %d is %.3g", what, len(got), worst, len(want), largest)
	}
}
