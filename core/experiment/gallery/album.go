package gallery

import (
	"context"
	"image"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/results/store"
)

// Album holds what the examples of an evaluation look like and what its classes are called.
type Album struct {
	Plugin   string        // datasets/emoji
	Classes  []string      // texts, by class id
	Pictures []image.Image // of the examples asked for; nil where the dataset has another example there now
	Captions [][]string    // beside Pictures
}

// Request says which examples of a run's evaluation are wanted.
type Request struct {
	Run                *store.RunDetail
	Evaluation, Target string
	Side               int      // of the pictures, in pixels
	Indices            []int    // of the examples; none: the classes alone are wanted
	Keys               []string // beside Indices, as the stored predictions have them
	// Trusted says that the spec in the database may choose which plugin is started and which files it reads.
	// Without it the spec in the run's folder does.
	Trusted bool
}

// Open opens the dataset of a run's evaluation and takes pictures of examples. No encoder is started.
// fault.NotFound when the run has no such evaluation or the dataset no such target, and whatever starting or
// configuring the plugin yields when it or its data are gone.
func Open(ctx context.Context, l lab.Lab, q Request) (*Album, error) {
	o, err := open(ctx, l, q, false)
	if err != nil {
		return nil, err
	}
	defer o.starter.Close()
	return o.album(ctx, q)
}

// take fills in the pictures and captions of the examples that the dataset, of n samples, still has.
func (a *Album) take(ctx context.Context, data clip.Dataset, n int, q Request) error {
	var ask, place []int
	for i, index := range q.Indices {
		if index < n {
			ask, place = append(ask, index), append(place, i)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	b, err := data.Batch(ctx, clip.BatchRequest{Indices: ask})
	if err != nil {
		return err
	}
	defer b.Images.Free()
	unreadable := map[int]bool{} // another sample stands in its place
	for _, f := range b.Faults {
		unreadable[f.Index] = true
	}
	for j, i := range place {
		if b.Keys[j] != q.Keys[i] || unreadable[ask[j]] {
			continue
		}
		a.Pictures[i] = rgba(b.Images.Data[j*3*q.Side*q.Side:], q.Side)
		if j < len(b.All) {
			a.Captions[i] = b.All[j]
		}
	}
	return nil
}

// rgba copies side × side pixels, u8 [side, side, 3] at the beginning of data, to a picture.
func rgba(data []byte, side int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	for p := range side * side {
		copy(m.Pix[4*p:], data[3*p:3*p+3])
		m.Pix[4*p+3] = 0xff
	}
	return m
}
