package sample

import (
	"testing"

	"tandem/core/clip"
	"tandem/core/media/vision"
)

// Sizes are those of the pictures before they are cropped, and come when they are asked for.
func TestSizesAreThoseOfThePicturesAsTheyAre(t *testing.T) {
	s := plain(3, 2)
	open := s.Open
	s.Open = func(i int) (vision.Picture, error) {
		if p, err := open(i); err != nil {
			return p, err
		}
		return vision.NewPicture(10+i, 7), nil
	}
	d := configured(t, s, clip.DatasetConfig{ImageSize: 4, Threads: 2})
	b := batch(t, d, clip.BatchRequest{Indices: []int{1, 2, 0}, Sizes: true})
	if len(b.Sizes) != 3 || b.Sizes[0] != [2]int{11, 7} || b.Sizes[1] != [2]int{} || b.Sizes[2] != [2]int{10, 7} {
		t.Errorf("%v", b.Sizes)
	}
	if b := batch(t, d, clip.BatchRequest{Indices: []int{0}}); b.Sizes != nil {
		t.Error("there are sizes that nobody asked for")
	}
	s.Drawn = true
	if b := batch(t, configured(t, s, clip.DatasetConfig{ImageSize: 4, Threads: 2}), clip.BatchRequest{Indices: []int{0}, Sizes: true}); b.Sizes != nil {
		t.Error("pictures that are drawn to order have sizes")
	}
}
