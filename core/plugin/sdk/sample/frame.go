package sample

import (
	"fmt"
	"sync"

	"tandem/core/fault"
	"tandem/core/media/vision"
)

// Frame says how large and of what shape the pictures of a set are before they are cropped. Embed it in a config
// (sdk.Schema). Drawings have any shape, and a centre crop cuts off what is to be seen.
type Frame struct {
	Pad    bool `with:"pad" help:"make pictures square with the colour of the background, so that crops lose nothing"`
	Shrink int  `with:"shrink" min:"0" max:"4096" help:"scale pictures whose longer side is more down to so many pixels when they are read, so that small ones are cropped and kept; 0: never"`
}

// Framed makes the pictures of a set what f says. Open must be set.
func (s *Set) Framed(f Frame, background [3]int) {
	if f == (Frame{}) {
		return
	}
	s.Pixels = fmt.Sprintf("%s framed %v %d %v", s.Pixels, f.Pad, f.Shrink, background)
	if content := s.Content; content != nil {
		how := fmt.Sprintf(" framed %v %d %v", f.Pad, f.Shrink, background)
		s.Content = func(i int) string {
			if c := content(i); c != "" {
				return c + how
			}
			return ""
		}
	}
	open := s.Open
	tools := sync.Pool{New: func() any { return new(vision.Resizer) }}
	s.Open = func(i int) (vision.Picture, error) {
		p, err := open(i)
		if err != nil {
			return p, err
		}
		if most := max(p.W, p.H); f.Shrink > 0 && most > f.Shrink {
			tool := tools.Get().(*vision.Resizer)
			defer tools.Put(tool)
			w, h := max(1, (p.W*f.Shrink+most/2)/most), max(1, (p.H*f.Shrink+most/2)/most)
			small := vision.NewPicture(w, h)
			tool.Resize(small.Pix, p, w, h)
			p = small
		}
		if f.Pad && p.W != p.H {
			p = square(p, background)
		}
		return p, nil
	}
}

// square returns a picture in the middle of a square of the background's colour.
func square(p vision.Picture, background [3]int) vision.Picture {
	side := max(p.W, p.H)
	out := vision.NewPicture(side, side)
	for i := 0; i < len(out.Pix); i += 3 {
		out.Pix[i], out.Pix[i+1], out.Pix[i+2] = uint8(background[0]), uint8(background[1]), uint8(background[2])
	}
	x, y := (side-p.W)/2, (side-p.H)/2
	for row := range p.H {
		copy(out.Pix[(y+row)*out.Stride+3*x:], p.Row(row))
	}
	return out
}

// CheckFrame reports settings that make pictures smaller than what is delivered.
func (f Frame) CheckFrame(imageSize int) error {
	if f.Shrink > 0 && f.Shrink < imageSize {
		return fault.New(fault.Invalid, "%d, but pictures of %d × %d are delivered", f.Shrink, imageSize, imageSize).WithPath("with.shrink").
			WithHint("at least %d, better half as much again for random crops", imageSize)
	}
	return nil
}
