// Command baselines prints what a spec's evaluations give without a model: chance, the largest class, and the nearest
// training picture. It reads the same data by the same plugins, with the transform of evaluation.
//
// The nearest training picture of a test picture is that whose 16 × 16 pixels of RGB differ least (Euclidean). For zero-shot
// classification its class is the answer, if its source has a labelling of that name; otherwise the class whose name is most
// like its captions. For retrieval, a picture and a text are as similar as the text is to the captions of the picture's nearest
// training picture. Texts are compared by their words, weighted by how rare they are in training (TF-IDF, cosine). Equal
// similarities count by the share of their orders that are right.
//
//	go run -tags onednn,libjpeg ./tools/baselines experiments/openclipart.yaml
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
)

func main() {
	plugins := flag.String("plugins", "bin/plugins", "folder of the plugins")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: baselines SPEC [key=value …]")
		os.Exit(2)
	}
	ctx, end := signal.NotifyContext(context.Background(), os.Interrupt)
	defer end()
	if err := measure(ctx, *plugins, flag.Arg(0), flag.Args()[1:]); err != nil {
		fmt.Fprintln(os.Stderr, fault.Format(err))
		os.Exit(1)
	}
}

func measure(ctx context.Context, plugins, file string, set []string) error {
	dir, err := filepath.Abs(plugins)
	if err != nil {
		return err
	}
	c := catalog.New()
	c.Roots = append([]string{dir}, c.Roots...)
	s, err := lab.Lab{Catalog: c}.Load(file, set)
	if err != nil {
		return err
	}
	size := imageSize(s)
	var train pictures
	for _, source := range s.Data.Train {
		one := *s
		one.Data.Train = []spec.TrainData{source}
		err := with(c, &one, func(x *assemble.Starter) error {
			d, err := x.TrainingData(ctx, size)
			if err != nil {
				return err
			}
			return train.read(ctx, d, d.Info, 0)
		})
		if err != nil {
			return err
		}
	}
	index := newWords(train.captions)
	fmt.Printf("%d training pictures\n", len(train.captions))
	for i, e := range s.Eval {
		err := with(c, s, func(x *assemble.Starter) error {
			d, err := x.EvaluationData(ctx, i, size)
			if err != nil {
				return err
			}
			var test pictures
			if err := test.read(ctx, d, d.Info, e.MaxSamples); err != nil {
				return err
			}
			return report(e, d.Info, &train, &test, index)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// with calls do with the plugins of a spec.
func with(c *catalog.Catalog, s *spec.Spec, do func(*assemble.Starter) error) error {
	x, err := assemble.NewStarter(c, s)
	if err != nil {
		return err
	}
	defer x.Close()
	return do(x)
}

// report prints the figures of one evaluation.
func report(e spec.Eval, info clip.DatasetInfo, train, test *pictures, index *words) error {
	nearest := make([]int, len(test.pixels))
	for i, p := range test.pixels {
		nearest[i] = train.nearest(p)
	}
	fmt.Printf("\n%s: %d test pictures\n", e.Name, len(test.pixels))
	if z := e.ZeroShot; z != nil {
		for _, t := range info.Targets {
			if t.Name == z.Classes {
				classify(t, train, test, nearest, index)
			}
		}
	}
	if e.Retrieval {
		retrieve(e.EqualCaptions, train, test, nearest, index)
	}
	return nil
}
