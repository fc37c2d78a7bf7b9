package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/experiment/preset"
	"tandem/core/fault"
	"tandem/core/results/report"
)

func (a *app) modelsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "models [WORD…]",
		Short: "list published models that a spec can name: towers, parameters, operations, weights",
		Long: `List the published models that a spec can name with model: NAME. Of several words, each has to be in the name or among
the names of published weights.

Parameters are those of the towers, in millions. GFLOPs are those of embedding one picture and one text of the full context,
a multiply-add counted as 2. Weights are named as OpenCLIP does; init.weights reads their .safetensors file.`,
		Example:           "  runner models\n  runner models siglip 256 --json\n  runner run SPEC --set model=ViT-B-16",
		Args:              args(cobra.ArbitraryArgs),
		ValidArgsFunction: completeModels,
	}
	a.formatFlags(c, true)
	c.RunE = func(_ *cobra.Command, words []string) error {
		columns := []string{"name", "image", "size", "text", "embed_dim", "loss", "image Mparams", "text Mparams", "Mparams", "GFLOPs", "weights"}
		if a.asJSON || a.asCSV {
			columns = []string{"name", "image", "image_size", "text", "embed_dim", "loss", "image_parameters", "text_parameters", "parameters", "flops", "weights"}
		}
		var rows [][]any
		for _, m := range preset.All() {
			weights := strings.Join(m.Pretrained, " ")
			if !containsAll(strings.ToLower(m.Name+" "+weights), words) {
				continue
			}
			cost := m.Cost()
			total, flops := cost.ImageParameters+cost.TextParameters, cost.ImageFLOPs+cost.TextFLOPs
			row := []any{m.Name, m.ImageTower(), int64(m.Image.Size), m.TextTower(), int64(m.EmbedDim), m.Loss}
			if a.asJSON || a.asCSV {
				row = append(row, cost.ImageParameters, cost.TextParameters, total, flops, weights)
			} else {
				row = append(row, millions(cost.ImageParameters), millions(cost.TextParameters), millions(total), fmt.Sprintf("%.1f", flops/1e9), weights)
			}
			rows = append(rows, row)
		}
		if len(rows) == 0 {
			return fault.New(fault.NotFound, "no published model has %q in its name", strings.Join(words, " ")).WithHint("`runner models` lists all")
		}
		return report.Rows(a.stdout, a.format(), columns, rows)
	}
	return c
}

func containsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, strings.ToLower(w)) {
			return false
		}
	}
	return true
}

func millions(n int64) string { return fmt.Sprintf("%.2f", float64(n)/1e6) }

// completeModels completes names of published models.
func completeModels(*cobra.Command, []string, string) (words []string, _ cobra.ShellCompDirective) {
	for _, m := range preset.All() {
		words = append(words, m.Name+"\t"+m.ImageTower())
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
