package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/experiment/tokens"
	"tandem/core/fault"
	"tandem/core/results/report"
)

// maxLine bounds a line of stdin that is a text, bytes.
const maxLine = 1 << 20

func (a *app) tokenizeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "tokenize [SPEC] [TEXT…]",
		Short: "show the tokens of texts, and where they are cut",
		Long: `Show the tokens of texts: ids, the pieces of the vocabulary that they stand for, how many they are, and whether they are
more than the context holds. The tokenizer is that of the spec's text encoder or, with --tokenizer, that of a name or file.
Without texts, every line of stdin is one. A tokenizer that a spec learns is learned anew from its training captions.`,
		Example: `  runner tokenize experiments/quickstart.yaml "an emoji of a grinning face"
  runner tokenize --tokenizer clip "a photo of a cat"
  cut -f2 pairs.tsv | runner tokenize --tokenizer minilm/tokenizer.json --json`,
		Args: args(cobra.ArbitraryArgs),
	}
	set := a.setFlag(c)
	a.pluginFlags(c)
	name := c.Flags().String("tokenizer", "", "`clip, byte or FILE`: a tokenizer.json, or a merges file of CLIP's form")
	context := c.Flags().Int("context", -1, "cut at `N` tokens; 0: never; default: the encoder's context, 77 for clip")
	c.Flags().BoolVar(&a.asJSON, "json", false, "print JSON")
	c.RunE = func(_ *cobra.Command, given []string) error {
		if *name == "" && len(given) == 0 {
			return usage{fault.New(fault.Invalid, "which tokenizer?").WithHint("runner tokenize SPEC TEXT… or runner tokenize --tokenizer clip TEXT…")}
		}
		if *name != "" && len(*set) > 0 {
			return usage{fault.New(fault.Invalid, "--set changes a spec, and --tokenizer takes none")}
		}
		texts := given
		if *name == "" {
			texts = given[1:]
		}
		if len(texts) == 0 {
			var err error
			if texts, err = readLines(); err != nil {
				return err
			}
		}
		var r *tokens.Result
		var err error
		if *name != "" {
			r, err = tokens.Named(*name, *context, texts)
		} else if s, e := a.lab().Load(given[0], *set); e != nil {
			return e
		} else {
			ctx, end := canceled()
			defer end()
			r, err = tokens.OfSpec(ctx, a.catalog, s, *context, texts)
		}
		if err != nil {
			return err
		}
		if a.asJSON {
			return report.Value(a.stdout, r)
		}
		return a.printTokens(r)
	}
	_ = c.RegisterFlagCompletionFunc("tokenizer", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"clip\tCLIP's published vocabulary", "byte\tthe bytes of UTF-8"}, cobra.ShellCompDirectiveDefault
	})
	return c
}

// readLines returns the lines of stdin.
func readLines() (lines []string, err error) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		lines = append(lines, in.Text())
	}
	if err := in.Err(); err != nil {
		return nil, fault.New(fault.Invalid, "stdin, line %d: %w", len(lines)+1, err)
	}
	return lines, nil
}

// printTokens prints each text with its tokens below it; a bar stands where it is cut.
func (a *app) printTokens(r *tokens.Result) error {
	head := "tokenizer: " + r.Tokenizer
	if r.VocabSize > 0 {
		head += ", " + report.Count(float64(r.VocabSize)) + " ids"
	}
	if r.ContextLength > 0 {
		head += fmt.Sprintf(", context %d", r.ContextLength)
	}
	say(a.stderr, "%s\n\n", head)
	for _, x := range r.Texts {
		line := fmt.Sprintf("%d tokens", x.Count)
		if x.Cut {
			line += fmt.Sprintf(", cut to %d", r.ContextLength)
		}
		var pieces []string
		for _, t := range x.Tokens {
			pieces = append(pieces, fmt.Sprintf("%d %s", t.ID, t.Piece))
		}
		text := x.Text + "\n  " + line + "\n"
		if len(pieces) > 0 {
			text += "  " + strings.Join(pieces, " · ") + "\n"
		}
		if x.Cut && len(x.Kept) > 0 {
			text += fmt.Sprintf("  the encoder gets %s\n", strings.Trim(fmt.Sprint(x.Kept), "[]"))
		}
		if _, err := say(a.stdout, "%s", text); err != nil {
			return err
		}
	}
	return nil
}
