package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tandem/core/experiment/schedule"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/starter"
	"tandem/core/fault"
)

// schemaFile names the schema that specs of a folder share, relative to them.
const schemaFile = ".tandem/spec.schema.json"

func (a *app) initCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "init [DIR|FILE.yaml]",
		Short: "write a first spec for pictures of your own",
		Long: `Look at a folder of pictures or at a table of pictures and captions, and write a commented spec that trains on them,
into DIR (the working directory when left out) or FILE.yaml. The data is

  - a folder with a folder of pictures for each class, perhaps below train and val,
  - a folder of pictures with a text file beside each (cat.txt beside cat.jpg),
  - a table of picture files and captions, or a folder with one: CSV or TSV whose first line names the columns, JSON lines, Parquet,
  - Parquet files with pictures in them, tar shards, or a folder of either, or
  - the annotations of COCO or of Karpathy's splits, or COCO's folder.

The JSON Schema with which editors complete specs is written to ` + schemaFile + ` beside it.`,
		Args:    args(cobra.MaximumNArgs(1)),
		Example: "  runner init --data ~/photos\n  runner init experiments/birds.yaml --data birds/captions.tsv",
	}
	data := c.Flags().String("data", "", "`path` of the pictures or of the table (default: DIR)")
	name := c.Flags().String("name", "", "`name` of the experiment (default: that of the data)")
	force := c.Flags().Bool("force", false, "replace a spec that is there")
	c.RunE = func(_ *cobra.Command, given []string) error {
		dir, file := ".", ""
		if len(given) > 0 {
			if dir = given[0]; isSpecName(dir) {
				dir, file = filepath.Dir(dir), dir
			}
		}
		if *data == "" {
			*data = dir
		}
		ctx, end := canceled()
		defer end()
		found, err := starter.Look(ctx, *data)
		if err != nil {
			return err
		}
		if *name != "" {
			found.Name = *name
		}
		if file == "" {
			file = filepath.Join(dir, found.Name+".yaml")
		}
		return a.writeSpec(found, file, *data, *force)
	}
	return c
}

func isSpecName(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

// writeSpec writes a spec and its schema, checks it, and says what was found.
func (a *app) writeSpec(found *starter.Data, file, data string, force bool) error {
	if _, err := os.Lstat(file); err == nil && !force {
		return usage{fault.New(fault.Conflict, "%s is there already", file).WithHint("--force replaces it; runner init OTHER.yaml writes another")}
	}
	say(a.stdout, "%s\n", data)
	for _, line := range found.Found() {
		say(a.stdout, "  %s\n", line)
	}
	r := found.Recipe()
	held := "evaluated on pictures that are kept apart"
	switch {
	case found.Eval == nil && r.TestShare == 0:
		held = "evaluated on the training pictures: too few to hold some out"
	case found.Eval == nil:
		held = fmt.Sprintf("%g %% of the pictures held out for evaluation", 100*r.TestShare)
	}
	say(a.stdout, "guessed\n  pictures of %d × %d for a ViT of %d layers and width %d\n  batches of %d, %d epochs: about %d steps\n  %s\n",
		r.ImageSize, r.ImageSize, r.Layers, r.Width, r.Batch, r.Epochs, r.Steps, held)

	schema := filepath.Join(filepath.Dir(file), schemaFile)
	if err := a.writeSchema(schema, force); err != nil {
		return err
	}
	if err := writeFile(file, found.Spec(file, schemaFile)); err != nil {
		return err
	}
	say(a.stdout, "wrote %s, and %s for your editor\n", file, schema)
	if _, err := schedule.Load(a.lab(), file, nil); err != nil {
		say(a.stderr, "%s needs your hand: runner explain %[1]s says so too\n", file)
		return err
	}
	say(a.stdout, "next\n  runner data peek %[1]s\n  runner run %[1]s\n", file)
	return nil
}

// writeSchema writes the schema anew, unless what stands there is something else.
func (a *app) writeSchema(file string, force bool) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.Invalid, "%w", err)
	}
	if err == nil && !force && !bytes.Contains(old, []byte(`"`+spec.SchemaTitle+`"`)) {
		return fault.New(fault.Conflict, "%s is no schema of tandem", file).WithHint("--force replaces it")
	}
	return writeFile(file, a.schema())
}
