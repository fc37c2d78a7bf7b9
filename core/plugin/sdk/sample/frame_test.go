package sample

import (
	"slices"
	"testing"

	"tandem/core/fault"
	"tandem/core/media/vision"
)

// grey returns a picture of one colour.
func grey(w, h int, v byte) vision.Picture {
	p := vision.NewPicture(w, h)
	for i := range p.Pix {
		p.Pix[i] = v
	}
	return p
}

func TestFramedPicturesAreSquareAndSmall(t *testing.T) {
	for name, c := range map[string]struct {
		frame Frame
		w, h  int
	}{
		"pad":            {Frame{Pad: true}, 40, 40},
		"shrink":         {Frame{Shrink: 20}, 20, 10},
		"both":           {Frame{Pad: true, Shrink: 20}, 20, 20},
		"smaller anyway": {Frame{Shrink: 64}, 40, 20},
	} {
		set := &Set{Open: func(int) (vision.Picture, error) { return grey(40, 20, 9), nil }}
		set.Framed(c.frame, [3]int{255, 250, 245})
		p, err := set.Open(0)
		if err != nil || p.W != c.w || p.H != c.h {
			t.Errorf("%s: %d × %d, %v", name, p.W, p.H, err)
			continue
		}
		corner, middle := p.Row(0)[:3], p.Row(p.H / 2)[3*p.W/2/3*3:][:3]
		if c.frame.Pad && !slices.Equal(corner, []byte{255, 250, 245}) || !slices.Equal(middle, []byte{9, 9, 9}) {
			t.Errorf("%s: corner %v, middle %v", name, corner, middle)
		}
		if set.Pixels == "" {
			t.Errorf("%s: the digest does not tell", name)
		}
	}
}

func TestFramesSmallerThanWhatIsDeliveredAreRefused(t *testing.T) {
	if err := (Frame{Shrink: 32}).CheckFrame(64); fault.KindOf(err) != fault.Invalid {
		t.Errorf("error %v", err)
	}
}
