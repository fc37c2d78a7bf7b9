package process_test

import (
	"testing"
	"time"

	"tandem/core/plugin/child"
	"tandem/core/plugin/process"
)

// A plugin that tells neither kernels nor memory is no error.
func TestPluginsNeedNotTellWhatTheyDo(t *testing.T) {
	var calls []process.Call
	s := session(t, process.SessionOptions{Observe: func(c process.Call) { calls = append(calls, c) }})
	e, p := encoder(t, s)
	before := time.Now()
	if events, err := p.Profile(t.Context(), true); err != nil || len(events) > 0 {
		t.Errorf("%d events, %v", len(events), err)
	}
	parts, program, err := p.Memory(t.Context())
	if err != nil || len(parts) > 0 {
		t.Errorf("parts %v, %v", parts, err)
	}
	if m := child.MemoryOf(p.PID()); m.Peak > 0 && (program <= 0 || program > 2*m.Peak || m.Resident > m.Peak) {
		t.Errorf("the program takes %d bytes of %+v", program, m)
	}
	if err := forward(t, e, "x"); err != nil {
		t.Fatal(err)
	}
	// The plugin's clock is ours.
	c := calls[len(calls)-1]
	if !c.Inside.IsZero() && (c.Inside.Before(before) || c.Inside.Before(c.Start.Add(-time.Millisecond)) ||
		c.Inside.Add(c.Server).After(c.Start.Add(c.Client+time.Millisecond))) {
		t.Errorf("a call from %v, for %v, was inside from %v, for %v", c.Start, c.Client, c.Inside, c.Server)
	}
}
