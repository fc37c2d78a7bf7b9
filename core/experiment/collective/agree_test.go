package collective

import (
	"context"
	"errors"
	"strings"
	"testing"

	"tandem/core/fault"
)

func TestRanksAgreeOnTheFirstErrorThatIsNoCancellation(t *testing.T) {
	ctx := context.Background()
	own := fault.New(fault.NotFound, "there is no such plugin").WithHint("install it")
	for name, x := range map[string]struct {
		errs [3]error
		want string
		kind fault.Kind
	}{
		"no error":                      {[3]error{}, "", ""},
		"one fails":                     {[3]error{nil, nil, own}, "there is no such plugin", fault.NotFound},
		"one fails and one is canceled": {[3]error{fault.New(fault.Canceled, "stopped"), own, nil}, "there is no such plugin", fault.NotFound},
		"two fail":                      {[3]error{nil, own, errors.New("also")}, "there is no such plugin", fault.NotFound},
		"all are canceled":              {[3]error{fault.New(fault.Canceled, "stopped"), fault.New(fault.Canceled, "too"), nil}, "stopped", fault.Canceled},
	} {
		_ = together(Local(3), func(g Group) error {
			err := Agree(ctx, g, x.errs[g.Rank()])
			if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) || fault.KindOf(err) != x.kind {
				t.Errorf("%s: rank %d gets %v", name, g.Rank(), err)
			}
			var f *fault.Error
			if x.kind == fault.NotFound && (!errors.As(err, &f) || f.Hint != "install it") {
				t.Errorf("%s: rank %d has no remedy", name, g.Rank())
			}
			return nil
		})
	}
}

func TestRanksOfAHostShareItsCores(t *testing.T) {
	for name, x := range map[string]struct {
		places []Place
		want   int
		hosts  string
	}{
		"nobody":                     {nil, 0, ""},
		"all cores for both":         {[]Place{{"a", []int{0, 1, 2, 3}}, {"a", []int{0, 1, 2, 3}}}, 2, "a (2 ranks)"},
		"bound to one each":          {[]Place{{"a", []int{0}}, {"a", []int{1}}}, 1, "a (2 ranks)"},
		"bound to halves":            {[]Place{{"a", []int{0, 1}}, {"a", []int{0, 1}}, {"a", []int{2, 3}}, {"a", []int{2, 3}}}, 1, "a (4 ranks)"},
		"a host each":                {[]Place{{"b", []int{0, 1, 2}}, {"a", []int{0, 1}}}, 2, "b (1 rank), a (1 rank)"},
		"more ranks than cores":      {[]Place{{"a", []int{0}}, {"a", []int{0}}, {"a", []int{0}}}, 1, "a (3 ranks)"},
		"two on one, one on another": {[]Place{{"a", []int{0, 1, 2, 3}}, {"a", []int{0, 1, 2, 3}}, {"b", []int{0, 1, 2, 3}}}, 2, "a (2 ranks), b (1 rank)"},
	} {
		if got := Cores(x.places); got != x.want || Hosts(x.places) != x.hosts {
			t.Errorf("%s: %d cores on %q", name, got, Hosts(x.places))
		}
	}
	if len(cpus()) == 0 {
		t.Error("no core is known here")
	}
}
