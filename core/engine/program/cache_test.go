package program

import (
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/graph"
	"tandem/core/fault"
)

// newDoubling makes a cache of programs that double n numbers; built counts the graphs made.
func newDoubling(t *testing.T, b device.Backend, limit int) (c *Cache[int, string], built *int) {
	t.Helper()
	built = new(int)
	c = NewCache(b, limit, func(n int) (Source[string], error) {
		*built++
		g := graph.New(graph.Options{})
		out := graph.Scale(g.Input("x", device.Real, n), 2, 0)
		return Source[string]{Graph: g, Options: graph.CompileOptions{Outputs: []*graph.Node{out}}, Extra: "doubles"}, g.Err()
	})
	t.Cleanup(c.Close)
	return c, built
}

func get(t *testing.T, c *Cache[int, string], n int) *Program[int, string] {
	t.Helper()
	p, err := c.Get(n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func take(t *testing.T, c *Cache[int, string], n int) (*Program[int, string], *graph.Instance) {
	t.Helper()
	p := get(t, c, n)
	i, err := c.Take(p)
	if err != nil {
		t.Fatal(err)
	}
	return p, i
}

func TestAProgramIsCompiledOnceForItsKey(t *testing.T) {
	c, built := newDoubling(t, reference.New[float32](1), 4)
	for range 3 {
		p, i := take(t, c, 3)
		i.SetInput("x", []float32{1, 2, 3})
		if err := i.Forward(); err != nil {
			t.Fatal(err)
		}
		var out [3]float32
		if err := i.Read(0, out[:]); err != nil || out != [3]float32{2, 4, 6} {
			t.Errorf("%v, %v", out, err)
		}
		c.Give(p, i)
		if p.Key != 3 || p.Extra != "doubles" {
			t.Errorf("key %d, extra %q", p.Key, p.Extra)
		}
	}
	if *built != 1 {
		t.Errorf("%d graphs were built, want 1", *built)
	}
}

// The programs unused for longest go first, and one whose activations are in use stays.
func TestProgramsAreBounded(t *testing.T) {
	const limit = 4
	c, built := newDoubling(t, reference.New[float32](1), limit)
	p, busy := take(t, c, 100)
	for n := 1; n <= limit+5; n++ {
		get(t, c, n)
		get(t, c, 2)
	}
	if len(c.byKey) != limit {
		t.Errorf("%d programs are kept, want %d", len(c.byKey), limit)
	}
	before := *built
	for n, want := range map[int]bool{2: true, limit + 5: true, 100: true} {
		if kept := c.byKey[n] != nil; kept != want {
			t.Errorf("program %d kept: %v, want %v", n, kept, want)
		}
	}
	if get(t, c, 1); *built != before+1 {
		t.Error("program 1, the oldest, was kept")
	}
	c.Give(p, busy)
}

// A cache whose programs are all in use grows beyond its limit.
func TestProgramsInUseAreNotClosed(t *testing.T) {
	c, _ := newDoubling(t, reference.New[float32](1), 1)
	p, i := take(t, c, 1)
	q, j := take(t, c, 2)
	if len(c.byKey) != 2 {
		t.Errorf("%d programs are kept, want 2", len(c.byKey))
	}
	c.Give(p, i)
	c.Give(q, j)
}

// Activations that other programs hold for later are given up beyond a limit, the oldest first.
func TestIdleActivationsAreTrimmed(t *testing.T) {
	c, _ := newDoubling(t, reference.New[float32](1), 8)
	for n := 1; n <= 3; n++ {
		p, i := take(t, c, n)
		c.Give(p, i)
	}
	c.trim(c.byKey[3], c.byKey[2].Memory().Activations)
	for n, want := range map[int]int{1: 0, 2: 1, 3: 1} {
		if got := len(c.byKey[n].idle); got != want {
			t.Errorf("program %d holds %d instances, want %d", n, got, want)
		}
	}
	p, i := take(t, c, 1)
	c.Give(p, i)
	if activations, _, _ := c.Memory(); activations != c.byKey[1].Memory().Activations+c.byKey[2].Memory().Activations+c.byKey[3].Memory().Activations {
		t.Errorf("%d bytes of activations", activations)
	}
}

// A pass without enough memory is run again once what is idle has been freed; any other error is returned.
func TestRunFreesWhatIsIdle(t *testing.T) {
	c, _ := newDoubling(t, reference.New[float32](1), 8)
	p, i := take(t, c, 5)
	c.Give(p, i)
	freed, passes := false, 0
	err := c.Run(func() error {
		if passes++; passes == 1 {
			return fault.New(fault.Exhausted, "no memory")
		}
		return nil
	}, func() { freed = true })
	if err != nil || !freed || passes != 2 || len(p.idle) != 0 {
		t.Errorf("%v, freed %v, %d passes, %d idle", err, freed, passes, len(p.idle))
	}
	err = c.Run(func() error { passes++; return fault.New(fault.Numeric, "not finite") }, func() { t.Error("freed for nothing") })
	if fault.KindOf(err) != fault.Numeric || passes != 3 {
		t.Errorf("%v after %d passes", err, passes)
	}
}
