package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/files/leftover"
)

func (a *app) schemaCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "schema",
		Short: "print a JSON Schema of specs, with which editors complete and check them",
		Long: `Print a JSON Schema of specs with all plugins that are found. An editor with a YAML language server completes keys,
with blocks included, explains them and marks what is wrong, in files whose first line is

  # yaml-language-server: $schema=PATH

PATH is relative to the file. Write the schema again after plugins have changed.`,
		Args:    args(cobra.NoArgs),
		Example: "  runner schema -o .tandem/spec.schema.json",
	}
	out := c.Flags().StringP("output", "o", "", "write to this `file`, whose folders are made, instead of printing")
	c.RunE = func(*cobra.Command, []string) error {
		text := a.schema()
		if *out == "" {
			_, err := a.stdout.Write(text)
			return err
		}
		return writeFile(*out, text)
	}
	return c
}

// schema returns the schema of specs, and says which plugins it knows too little of.
func (a *app) schema() []byte {
	text, faults := spec.JSONSchema(assemble.NewCatalog(a.catalog))
	for _, e := range faults {
		say(a.stderr, "warning: %s\n", fault.Format(e))
	}
	return text
}

// writeFile writes a file whole or not at all, and makes its folder.
func writeFile(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	_, err := leftover.Replace(name, func(f *os.File) error {
		_, err := f.Write(text)
		return err
	})
	if err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	return nil
}
