package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// DatasetOptions says how to check a dataset.
type DatasetOptions struct {
	With      string // the with block; "" for the defaults
	ImageSize int    // 0: 24
	// Splits holds with blocks of parts of the data that must have no sample in common; nil: none are known.
	Splits []string
	// Capabilities are those of its descriptor. Those that have a rule are checked.
	Capabilities []string
	Skip         []string      // names of rules that do not apply
	Only         []string      // rules to check, with those that they need; nil: all
	Observe      func(Finding) // called after every rule, when not nil
}

// TestDataset checks the dataset that newDataset makes, one subtest for each rule.
func TestDataset(t *testing.T, newDataset func() clip.Dataset, o DatasetOptions) {
	t.Helper()
	report(t, CheckDataset(newDataset, o))
}

// CheckDataset checks what TestDataset checks and returns the findings.
func CheckDataset(newDataset func() clip.Dataset, o DatasetOptions) []Finding {
	return ExamineDataset(always(newDataset), o)
}

// ExamineDataset checks what TestDataset checks, on instances that start makes and that may fail to start.
func ExamineDataset(start func() (clip.Dataset, error), o DatasetOptions) []Finding {
	if o.ImageSize == 0 {
		o.ImageSize = 24
	}
	c := datasetCase{start: start, o: o, shared: map[bool]*datasetTrial{}}
	defer func() {
		for _, d := range c.shared {
			d.Close()
		}
	}()
	return run(c, datasetRules, selection{o.Skip, o.Only}, o.Observe)
}

// Needs of rules of datasets.
var (
	reads       = []string{"configure", "batch"}
	readsRepeat = []string{"configure", "batch", "determinism"}
)

var datasetRules = []rule[datasetCase]{
	{"configure", "Configure accepts the options.", "pass options that fit with --with", nil, datasetCase.configure},
	{"info", "What Configure returns is complete and the same each time, and a second Configure is refused.", "count samples and name the digest in Configure; refuse a second Configure as a conflict", configured, datasetCase.info},
	{"unknown option", "An option that does not exist is refused as invalid.", "decode the with block strictly", nil, datasetCase.unknownOption},
	{"length", "The first and the last index can be read, those beyond are refused as invalid.", "return the number of samples that can be read; check each index", configured, datasetCase.length},
	{"batch", "Batch returns u8 [B, S, S, 3], and a caption, a key and a group for each sample.", "fill every field for every index; outside training also all captions", []string{"configure", "length"}, datasetCase.batch},
	{"keys", "Every sample has a key of its own.", "make the key of what tells samples apart, such as the file's name", reads, datasetCase.keys},
	{"splits", "Splits have no sample in common.", "choose the split of a sample by its key, once", reads, datasetCase.splits},
	{"labels", "Labels are class ids of the targets, or -1.", "number classes from 0, in the order of the target's classes", reads, datasetCase.labels},
	{"determinism", "The same request gives the same bits, at any time and in every process.", "draw random numbers from (seed, epoch, index) alone", reads, datasetCase.determinism},
	{"independence", "A sample does not depend on what else is in the batch, nor on its place there.", "draw random numbers from (seed, epoch, index) alone", readsRepeat, datasetCase.independence},
	{"epochs", "Training pictures change with the epoch when augmentation is asked for; evaluation does not change.", "let the epoch choose the crop, in training only", readsRepeat, datasetCase.epochs},
	{"into", "With Into, the pictures are written there.", "fill all of the tensor that the request brings", readsRepeat, datasetCase.into},
	{"without images", "Without pictures, captions, keys and labels are the same.", "choose captions in a way that does not depend on pictures", readsRepeat, datasetCase.withoutImages},
	{"fixed", "What is called fixed does not change, and random crops are not called fixed.", "set fixed only when nothing is random", readsRepeat, datasetCase.fixed},
	{"negatives", "When asked for, each sample has as many further texts as Configure said; all else is as without.", "draw from (seed, epoch, index) alone, and leave captions as they are without", readsRepeat, datasetCase.negatives},
	{"second view", "When asked for, each sample has a second picture, and all else is as without.", "draw the second crop from a random stream of its own", readsRepeat, datasetCase.secondView},
	{"augmentations", "Grey is the luma of the picture without it, colours change at random, evaluation stays.", "apply what follows the crop in training only, each from a random stream of its own", readsRepeat, datasetCase.augmentations},
	{"kept pictures", "Kept pictures are the same as others when they are raw, and those found the same as those just made.", "keep what was decoded under a key of its content and of how it was decoded", readsRepeat, datasetCase.keptPictures},
	{"several batches at once", "Batches that are asked for at the same time are those that come one by one.", "guard what calls share", readsRepeat, datasetCase.concurrent},
	{"captions", "Captions lists every caption once, in a fixed order, at most as many as asked for.", "remember which texts were listed", reads, datasetCase.captions},
	{"cancellation", "A cancelled call ends, and the next one works.", "look at the context between samples", reads, datasetCase.cancellation},
	{"close", "Close works, also twice and without Configure.", "let Close do nothing the second time", configured, datasetCase.close},
}

type datasetCase struct {
	shared map[bool]*datasetTrial // instances that rules share, with and without augmentation
	start  func() (clip.Dataset, error)
	o      DatasetOptions
}

// datasetTrial holds a configured dataset.
type datasetTrial struct {
	clip.Dataset
	info clip.DatasetInfo
	size int
}

// augment configures a change of every picture in training.
var augment = &clip.Augment{Name: "random_resized_crop", Scale: [2]float64{.5, .9}, Ratio: [2]float64{.75, 4. / 3}, HFlip: .5}

func (c datasetCase) config(a *clip.Augment) clip.DatasetConfig {
	return clip.DatasetConfig{With: json.RawMessage(c.o.With), ImageSize: c.o.ImageSize, Seed: 1, Augment: a, Threads: 2}
}

func (c datasetCase) open(a *clip.Augment) (*datasetTrial, error) {
	d, err := c.start()
	if err != nil {
		return nil, err
	}
	info, err := d.Configure(ctx, c.config(a))
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("configure: %w", err)
	}
	return &datasetTrial{d, info, c.o.ImageSize}, nil
}

// with calls f with an instance that other rules used before: what it gives is a function of the request.
func (c datasetCase) with(a *clip.Augment, f func(*datasetTrial) error) error {
	d, there := c.shared[a != nil]
	if !there {
		var err error
		if d, err = c.open(a); err != nil {
			return err
		}
		c.shared[a != nil] = d
	}
	return f(d)
}

// alone calls f with an instance of its own.
func (c datasetCase) alone(a *clip.Augment, f func(*datasetTrial) error) error {
	d, err := c.open(a)
	if err != nil {
		return err
	}
	defer d.Close() // its error belongs to the rule about Close
	return f(d)
}

// someIndices returns a few indices across the dataset, unordered, the last one among them.
func (d *datasetTrial) someIndices() []int {
	n := d.info.Len
	picks := []int{n / 2, n - 1, 0, n / 3, 2 * n / 3, n / 7}
	var out []int
	for _, i := range picks {
		if !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	return out
}

// get returns a batch on the heap, after a check of its form.
func (d *datasetTrial) get(q clip.BatchRequest) (*clip.Batch, error) {
	b, err := d.Batch(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("batch %v: %w", q.Indices, err)
	}
	if b == nil {
		return nil, errors.New("batch gave neither samples nor an error")
	}
	n := len(q.Indices)
	if want := (tensor.Shape{n, d.size, d.size, 3}); b.Images == nil || b.Images.DType != tensor.U8 || !b.Images.Shape.Equal(want) {
		return nil, fmt.Errorf("pictures are %+v, want u8 %v", b.Images, want)
	}
	if q.Into == nil {
		heap := b.Images.Clone()
		b.Images.Free()
		b.Images = heap
	}
	if len(b.Captions) != n || len(b.Keys) != n || len(b.Groups) != n {
		return nil, fmt.Errorf("%d captions, %d keys, %d groups for %d samples", len(b.Captions), len(b.Keys), len(b.Groups), n)
	}
	if q.Train && b.All != nil || !q.Train && len(b.All) != n {
		return nil, fmt.Errorf("all captions of %d samples for %d, with Train %v", len(b.All), n, q.Train)
	}
	return b, nil
}

// differ returns an error that says how two batches that should be equal differ.
func differ(what string, a, b *clip.Batch) error {
	if err := checkSame(what+": pictures", a.Images, b.Images); err != nil {
		return err
	}
	x, y := *a, *b
	x.Images, y.Images = nil, nil
	if !reflect.DeepEqual(x, y) {
		return fmt.Errorf("%s: %+v and %+v", what, x, y)
	}
	return nil
}

func (c datasetCase) info() error {
	var first clip.DatasetInfo
	for i := range 2 {
		err := c.alone(nil, func(d *datasetTrial) error {
			if d.info.Len <= 0 || d.info.Digest == "" {
				return fmt.Errorf("%d samples, digest %q", d.info.Len, d.info.Digest)
			}
			for _, t := range d.info.Targets {
				if t.Name == "" || len(t.Classes) < 2 {
					return fmt.Errorf("target %q has the classes %v", t.Name, t.Classes)
				}
			}
			if i == 0 {
				first = d.info
			} else if !reflect.DeepEqual(first, d.info) {
				return fmt.Errorf("opened twice: %+v and %+v", first, d.info)
			}
			_, err := d.Configure(ctx, c.config(nil))
			return wantKind("a second Configure", err, fault.Conflict)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c datasetCase) configure() error {
	return c.with(nil, func(*datasetTrial) error { return nil })
}

func (c datasetCase) unknownOption() error {
	d, err := c.start()
	if err != nil {
		return err
	}
	defer d.Close()
	cfg := c.config(nil)
	cfg.With = json.RawMessage(`{"no_such_option": 1}`)
	_, err = d.Configure(ctx, cfg)
	return wantKind("an option that does not exist", err, fault.Invalid)
}

func (c datasetCase) length() error {
	return c.with(nil, func(d *datasetTrial) error {
		b, err := d.Batch(ctx, clip.BatchRequest{Indices: []int{d.info.Len - 1}, NoImages: true})
		if err != nil {
			return fmt.Errorf("the last sample, %d: %w", d.info.Len-1, err)
		}
		b.Images.Free()
		for _, i := range []int{d.info.Len, -1} {
			_, err := d.Batch(ctx, clip.BatchRequest{Indices: []int{i}, NoImages: true})
			if err := wantKind(fmt.Sprintf("sample %d of %d", i, d.info.Len), err, fault.Invalid); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c datasetCase) batch() error {
	return c.with(augment, func(d *datasetTrial) error {
		for _, train := range []bool{false, true} {
			b, err := d.get(clip.BatchRequest{Indices: d.someIndices(), Train: train})
			if err != nil {
				return err
			}
			seen := map[string]bool{}
			for i, key := range b.Keys {
				if key == "" || seen[key] {
					return fmt.Errorf("key %q of sample %d is empty or another's", key, i)
				}
				seen[key] = true
				if b.Captions[i] == "" {
					return fmt.Errorf("sample %s has no caption", key)
				}
				if !train && !slices.Contains(b.All[i], b.Captions[i]) {
					return fmt.Errorf("the caption %q of %s is none of %q", b.Captions[i], key, b.All[i])
				}
			}
		}
		return nil
	})
}

func (c datasetCase) labels() error {
	return c.with(nil, func(d *datasetTrial) error {
		indices := make([]int, min(d.info.Len, 64))
		for i := range indices {
			indices[i] = i * d.info.Len / len(indices)
		}
		b, err := d.get(clip.BatchRequest{Indices: indices})
		if err != nil {
			return err
		}
		if len(b.Labels) != len(d.info.Targets) {
			return fmt.Errorf("labels for %d of %d targets", len(b.Labels), len(d.info.Targets))
		}
		for _, t := range d.info.Targets {
			if len(b.Labels[t.Name]) != len(indices) {
				return fmt.Errorf("%d labels of %s for %d samples", len(b.Labels[t.Name]), t.Name, len(indices))
			}
			for i, id := range b.Labels[t.Name] {
				if id < -1 || int(id) >= len(t.Classes) {
					return fmt.Errorf("sample %s has the class %d of %d in %s", b.Keys[i], id, len(t.Classes), t.Name)
				}
			}
		}
		return nil
	})
}

func (c datasetCase) determinism() error {
	var first *clip.Batch
	for range 2 {
		err := c.alone(augment, func(d *datasetTrial) error {
			q := clip.BatchRequest{Indices: d.someIndices(), Epoch: 3, Train: true}
			a, err1 := d.get(q)
			b, err2 := d.get(q)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			if first == nil {
				first = a
			}
			return errors.Join(differ("the same batch twice", a, b), differ("the same batch of two instances", first, a))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// independence checks that a sample is the same whatever else is in its batch.
func (c datasetCase) independence() error {
	return c.with(augment, func(d *datasetTrial) error {
		indices := d.someIndices()
		whole, err := d.get(clip.BatchRequest{Indices: indices, Epoch: 1, Train: true})
		if err != nil {
			return err
		}
		per := len(whole.Images.Data) / len(indices)
		for i, index := range indices {
			one, err := d.get(clip.BatchRequest{Indices: []int{index}, Epoch: 1, Train: true})
			if err != nil {
				return err
			}
			if one.Keys[0] != whole.Keys[i] || one.Captions[0] != whole.Captions[i] || one.Groups[0] != whole.Groups[i] ||
				!slices.Equal(one.Images.Data, whole.Images.Data[i*per:(i+1)*per]) {
				return fmt.Errorf("sample %d alone (%s) is not what it is in a batch (%s)", index, one.Keys[0], whole.Keys[i])
			}
		}
		return nil
	})
}
