package sample

import (
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/random"
)

// Options holds what datasets of picture files have in common; embed it in a config (sdk.Schema).
type Options struct {
	Split        string  `with:"split" enum:"all,train,test" help:"part of the samples; train and test need test_fraction"`
	TestFraction float64 `with:"test_fraction" min:"0" max:"1" help:"share of samples in the test split"`
	SplitSeed    uint64  `with:"split_seed" help:"chooses the test split, whatever the run's seed"`
	Background   [3]int  `with:"background" min:"0" max:"255" help:"RGB under transparent pixels"`
	Alpha        string  `with:"alpha" enum:"background,drop" help:"composite transparent pixels over the background, or take their colours as they are, as Pillow's convert(\"RGB\") does"`
	MaxPixels    int     `with:"max_pixels" min:"1" max:"2147483647" help:"pictures of more pixels are refused; decoding takes 3 to 9 bytes a pixel"`
	OnError      string  `with:"on_error" enum:"skip,fail" help:"replace or leave out what cannot be read, or stop"`
}

// DefaultOptions selects all samples on a white background and skips what cannot be read.
var DefaultOptions = Options{Split: "all", Background: [3]int{255, 255, 255}, Alpha: "background",
	MaxPixels: vision.MaxPixels, OnError: "skip"}

// Check reports a split without a fraction.
func (o Options) Check() error {
	if o.Split != "all" && (o.TestFraction <= 0 || o.TestFraction >= 1) {
		return fault.New(fault.Invalid, "%v with split: %s", o.TestFraction, o.Split).WithPath("with.test_fraction").
			WithHint("give a fraction between 0 and 1, or split: all")
	}
	return nil
}

// Has reports whether a sample with this key is in the split. It depends on the key, the fraction and the split
// seed only: a change to the rest of the dataset moves no sample from one split to the other.
func (o Options) Has(key string) bool {
	if o.Split == "all" {
		return true
	}
	held := random.New(o.SplitSeed, "split "+key).Float64() < o.TestFraction
	return held == (o.Split == "test")
}

// Vision returns the options for decoding.
func (o Options) Vision() vision.Options {
	return vision.Options{Background: &vision.RGB{uint8(o.Background[0]), uint8(o.Background[1]), uint8(o.Background[2])},
		DropAlpha: o.Alpha == "drop", MaxPixels: o.MaxPixels}
}

// Fail reports whether an unreadable record or picture is an error.
func (o Options) Fail() bool { return o.OnError == "fail" }
