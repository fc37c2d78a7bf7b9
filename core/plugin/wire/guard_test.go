package wire

import (
	"context"
	"errors"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// scribbler writes where it must not when it is asked to.
type scribbler struct {
	noter
	arena *Arena
	do    func(mem []byte, q clip.ForwardRequest)
}

func (s *scribbler) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	out, ticket, err := s.noter.Forward(ctx, q)
	s.do(s.arena.mem, q)
	return out, ticket, err
}

// A plugin that writes behind its slot, before it, over what it was given or over everything is found at the end of
// the call and named.
func TestWritesOutsideASlotAreFound(t *testing.T) {
	fill := func(b []byte) {
		for i := range b {
			b[i] = 0xff
		}
	}
	place := func(a *Arena, x *tensor.Tensor) int { // of a tensor of a request in the arena
		for s := range a.live {
			if &a.mem[s.offset] == &x.Data[0] {
				return int(s.offset)
			}
		}
		panic("not in the arena")
	}
	for want, do := range map[string]func(a *Arena, q clip.ForwardRequest){
		"": func(*Arena, clip.ForwardRequest) {},
		"outside its memory (behind slot": func(a *Arena, q clip.ForwardRequest) {
			at := place(a, q.Into) + len(q.Into.Data)
			fill(a.mem[at : at+1])
		},
		"outside its memory (before slot":            func(a *Arena, q clip.ForwardRequest) { at := place(a, q.Into); fill(a.mem[at-64 : at]) },
		"outside its memory (before and behind slot": func(a *Arena, _ clip.ForwardRequest) { fill(a.mem[:1<<20]) },
		"what it was given to read":                  func(_ *Arena, q clip.ForwardRequest) { fill(q.Images.Data) },
	} {
		arena := newArena(t)
		s := &scribbler{arena: arena}
		s.do = func(_ []byte, q clip.ForwardRequest) { do(arena, q) }
		e := EncoderClient(connect(t, s, arena))
		if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 3}); err != nil {
			t.Fatal(err)
		}
		images := picture(t, arena, 1)
		out, _, err := e.Forward(t.Context(), clip.ForwardRequest{Images: images})
		var f *fault.Error
		switch {
		case want == "" && err != nil:
			t.Errorf("an honest plugin: %v", err)
		case want != "" && (!errors.As(err, &f) || f.Plugin != "encoders/noter" || !strings.Contains(f.Msg, want)):
			t.Errorf("%s: got %v", want, err)
		}
		out.Free()
		images.Free()
		if n := arena.Stats().Slots; n != 0 {
			t.Errorf("%s: %d slots are still in use", want, n)
		}
	}
}

// Damage that begins behind the slot of another plugin is that plugin's if it was at work, else the caller's.
func TestDamageIsTheNeighboursWhenItBeginsBehindItsSlot(t *testing.T) {
	for _, at := range []struct {
		calls      int
		name, said string
	}{{1, "datasets/rude", "found after Forward of encoders/noter"}, {0, "encoders/noter", "Forward broke a rule"}} {
		damageBehindAnother(t, at.calls, at.name, at.said)
	}
}

func damageBehindAnother(t *testing.T, calls int, name, said string) {
	t.Helper()
	arena := newArena(t)
	x, err := arena.Alloc(tensor.U8, 100)
	if err != nil {
		t.Fatal(err)
	}
	arena.setWriter(x.Shared.(*slot), "datasets/rude")
	arena.addCalls("datasets/rude", calls)
	s := &scribbler{arena: arena, do: func(mem []byte, _ clip.ForwardRequest) {
		at := x.Shared.(*slot).offset + 100
		for i := range mem[at : at+1<<16] {
			mem[int(at)+i] = 7
		}
	}}
	e := EncoderClient(connect(t, s, arena))
	if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 3}); err != nil {
		t.Fatal(err)
	}
	_, _, err = e.Forward(t.Context(), clip.ForwardRequest{Images: picture(t, arena, 1)})
	var f *fault.Error
	if !errors.As(err, &f) || f.Plugin != name || !strings.Contains(f.Msg, said) {
		t.Errorf("got %v", err)
	}
}
