// Package main serves myplugin, a dataset: squares that it draws itself, in a colour at a place.
package main

import (
	"context"
	"fmt"

	"tandem/core/clip"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
)

func main() { sdk.ServeDataset(Plugin) }

// Config holds the options of a spec's with block.
type Config struct {
	Count int    `with:"count" min:"20" help:"number of pictures, of all splits"`
	Split string `with:"split" enum:"train,test" help:"part of the pictures: every fifth is for tests"`
}

var defaults = Config{Count: 500, Split: "train"}

// Plugin describes the dataset to the runner.
var Plugin = sdk.Dataset{
	Name: "myplugin", Version: "0.1.0", Summary: "squares in a colour at a place",
	Config: defaults,
	New:    func() clip.Dataset { return sample.New(open) },
}

var colours = []struct {
	name string
	rgb  [3]byte
}{{"red", [3]byte{220, 30, 30}}, {"green", [3]byte{30, 200, 30}}, {"blue", [3]byte{30, 30, 220}}, {"yellow", [3]byte{220, 220, 30}}}

var places = []string{"top left", "top right", "bottom left", "bottom right"}

// open lists the samples. Pictures are drawn when they are asked for.
func open(_ context.Context, c clip.DatasetConfig) (*sample.Set, error) {
	cfg := defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	set := &sample.Set{Note: "drawn by the plugin", Pixels: "squares 1", Direct: true}
	kinds := clip.Target{Name: "kind"} // for zero-shot classification
	for _, colour := range colours {
		for _, place := range places {
			kinds.Classes = append(kinds.Classes, fmt.Sprintf("a %s square at the %s", colour.name, place))
		}
	}
	set.Targets = []clip.Target{kinds}
	var numbers []int // of the pictures of this split
	for n := range cfg.Count {
		if (n%5 == 4) == (cfg.Split == "test") {
			class := n % len(kinds.Classes)
			numbers = append(numbers, n)
			set.Samples = append(set.Samples, sample.Sample{
				Key: fmt.Sprint("square/", n), Group: int64(class), // samples of one group are right answers for one another
				Captions: []string{kinds.Classes[class]}, Labels: []int32{int32(class)},
			})
		}
	}
	set.Open = func(i int) (vision.Picture, error) { return draw(numbers[i]), nil }
	return set, nil
}

// draw makes picture n, a function of n alone.
func draw(n int) vision.Picture {
	const side = 40
	p, class := vision.NewPicture(side, side), n%(len(colours)*len(places))
	place := class % len(places)
	left, top, size := place%2*20+2+n%3, place/2*20+2+n%2, 12+n%5
	for y := range side {
		row := p.Row(y)
		for i := range row {
			row[i] = 235
		}
		for x := left; x < left+size && y >= top && y < top+size; x++ {
			copy(row[3*x:], colours[class/len(places)].rgb[:])
		}
	}
	return p
}
