package towertest

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
)

// later gives the weights a start, and leaves the rest as it is.
func later(start int, globs ...string) clip.Optimizer {
	o := adamw
	o.Groups = []clip.ParamGroup{{Params: globs, Start: start}}
	return o
}

// learn takes step n, counted from 1, on samples [from, to), and gives the square of the gradient's norm.
func (s *session) learn(n, from, to int) float64 {
	s.Helper()
	req := s.request(from, to, clip.Train)
	req.Step = n - 1
	_, ticket := s.forward(req)
	s.backward(ticket, from, to)
	square, err := s.GradNorm(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	s.step(n, 1e-2, .5)
	return square
}

// checkStart trains weights from the third step on: until then they are as frozen, and their first step is that of an
// encoder which begins there.
func (c Case) checkStart(t *testing.T) {
	const start = 2
	s := c.open(t, c.config(later(start, "*weight")))
	frozen := c.openFrozen(t, adamw, clip.Freeze{Params: []string{"*weight"}})
	path := filepath.Join(t.TempDir(), "begun.safetensors")
	for n := 1; n <= start; n++ {
		if a, b := s.learn(n, 0, 4), frozen.learn(n, 0, 4); !(math.Abs(a-b) <= 1e-6*b) {
			t.Errorf("step %d: the squared norm is %g, %g with weights that are frozen", n, a, b)
		}
		if n == 1 {
			if err := s.Save(s.ctx, path); err != nil {
				t.Fatal(err)
			}
		}
	}
	values, want := Values(t, s), Values(t, frozen)
	waiting := 0
	for name, v := range values {
		if w, ok := want[name]; ok && !slices.Equal(v, w) {
			t.Errorf("before its start: %s differs from a training with frozen weights", name)
		} else if !ok {
			if waiting++; !strings.HasPrefix(name, "optim.") || slices.ContainsFunc(v, func(x float32) bool { return x != 0 }) {
				t.Errorf("before its start: %s is not zero", name)
			}
		}
	}
	if waiting == 0 {
		t.Fatal("nothing waits")
	}
	anew := c.open(t, c.config(adamw))
	Rewrite(t, anew, func(name string, _ []int, i int) float32 { return values[name][i] })
	s.learn(start+1, 0, 4)
	req := anew.request(0, 4, clip.Train)
	req.Step = start
	_, ticket := anew.forward(req)
	anew.backward(ticket, 0, 4)
	anew.step(1, 1e-2, .5)
	values, want = Values(t, s), Values(t, anew)
	for name, v := range values {
		if strings.HasSuffix(name, "weight") && !slices.Equal(v, want[name]) {
			t.Errorf("at its start: %s differs from a first step", name)
		}
	}
	resumed := c.open(t, c.config(later(start, "*weight")))
	if err := resumed.Load(s.ctx, path); err != nil {
		t.Fatal(err)
	}
	for n := 2; n <= start+1; n++ {
		resumed.learn(n, 0, 4)
	}
	same(t, "resumed before its start:", values, Values(t, resumed))
	c.checkAllStartLater(t)
}

// checkAllStartLater leaves a whole encoder as it is for a step.
func (c Case) checkAllStartLater(t *testing.T) {
	s := c.open(t, c.config(later(1, "*")))
	Rewrite(t, s, Value)
	before := Values(t, s)
	if n := s.learn(1, 0, 4); n != 0 {
		t.Errorf("the squared norm of nothing is %g", n)
	}
	same(t, "a step before all starts:", before, Values(t, s))
	if n := s.learn(2, 0, 4); !(n > 0) {
		t.Errorf("the squared norm is %g after the start", n)
	}
	after := Values(t, s)
	for name := range s.moments() {
		if slices.Equal(before[name], after[name]) {
			t.Errorf("%s does not start", name)
		}
	}
}
