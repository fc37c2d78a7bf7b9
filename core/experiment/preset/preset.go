// Package preset knows published models by name: the settings that make them, and what they take. The table (models.csv) holds
// the facts of OpenCLIP's configs of those models that tandem's encoders can express; tools/goldens/openclip/models.py writes
// it.
package preset

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"

	"tandem/core/fault"
)

// Model describes a published model.
type Model struct {
	Name       string
	EmbedDim   int
	Loss       string // clip or siglip
	Image      Image
	Text       Text
	Pretrained []string // OpenCLIP's names of its published weights
}

// Image describes an image tower: of a ViT, or of a ResNet, which has Stages and no PatchSize.
type Image struct {
	Size, PatchSize, Width, Layers, Heads int
	Stages                                [4]int
	MLPRatio                              float64
	Act                                   string
}

// Text describes a text tower.
type Text struct {
	Context, Vocab, Width, Heads, Layers int
	MLPRatio                             float64
	Act                                  string
}

//go:embed models.csv
var table string

var all = read()

// All returns the models in the order of their names, as OpenCLIP lists them.
func All() []Model { return all }

// Find returns the model of a name, spelled as OpenCLIP does; an unknown one is fault.NotFound.
func Find(name string) (Model, error) {
	names := make([]string, len(all))
	for i, m := range all {
		if m.Name == name {
			return m, nil
		}
		names[i] = m.Name
	}
	f := fault.New(fault.NotFound, "no published model %q", name).WithHint("`runner models` lists them")
	if near := fault.Nearest(name, names); near != "" {
		f.WithHint("did you mean %s? `runner models` lists all", near)
	}
	return Model{}, f
}

// read parses the table. What it cannot read is a mistake in the binary.
func read() (models []Model) {
	rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	if err != nil {
		panic("preset: " + err.Error())
	}
	for _, row := range rows[1:] {
		at := map[string]string{}
		for i, column := range rows[0] {
			at[column] = row[i]
		}
		whole := func(column string) int {
			n, err := strconv.Atoi(at[column])
			if err != nil {
				panic(fmt.Sprintf("preset: %s of %s: %v", column, row[0], err))
			}
			return n
		}
		ratio := func(column string) float64 {
			v, err := strconv.ParseFloat(at[column], 64)
			if err != nil {
				panic(fmt.Sprintf("preset: %s of %s: %v", column, row[0], err))
			}
			return v
		}
		m := Model{Name: at["name"], EmbedDim: whole("embed_dim"), Loss: at["loss"], Pretrained: strings.Fields(at["pretrained"]),
			Image: Image{Size: whole("image_size"), PatchSize: whole("patch_size"), Width: whole("width"), Heads: whole("heads"),
				MLPRatio: ratio("mlp_ratio"), Act: at["act"]},
			Text: Text{Context: whole("context_length"), Vocab: whole("vocab_size"), Width: whole("text_width"), Heads: whole("text_heads"),
				Layers: whole("text_layers"), MLPRatio: ratio("text_mlp_ratio"), Act: at["text_act"]}}
		if m.Image.PatchSize > 0 {
			m.Image.Layers = whole("layers")
		} else if _, err := fmt.Sscan(at["layers"], &m.Image.Stages[0], &m.Image.Stages[1], &m.Image.Stages[2], &m.Image.Stages[3]); err != nil {
			panic(fmt.Sprintf("preset: layers of %s: %v", row[0], err))
		}
		models = append(models, m)
	}
	return models
}

// siglip says that the model has SigLIP's towers (Zhai et al. 2023).
func (m Model) siglip() bool { return m.Loss == "siglip" }

// ImageTower says what the image tower is, in a word: ViT-B/16 … without its name, as 12×768/16, or ResNet.
func (m Model) ImageTower() string {
	if v := m.Image; v.PatchSize == 0 {
		return fmt.Sprintf("ResNet %d-%d-%d-%d, width %d", v.Stages[0], v.Stages[1], v.Stages[2], v.Stages[3], v.Width)
	}
	return fmt.Sprintf("ViT %d×%d, patch %d", m.Image.Layers, m.Image.Width, m.Image.PatchSize)
}

// TextTower says what the text tower is.
func (m Model) TextTower() string {
	return fmt.Sprintf("%d×%d, %d of %d tokens", m.Text.Layers, m.Text.Width, m.Text.Context, m.Text.Vocab)
}

// Spec returns the keys of a spec that make the model: image, text, loss and embed_dim, with every setting on which the
// weights depend. Numbers are int64 and float64.
func (m Model) Spec() map[string]any {
	text := map[string]any{
		"context_length": int64(m.Text.Context), "vocab_size": int64(m.Text.Vocab), "width": int64(m.Text.Width), "heads": int64(m.Text.Heads),
		"layers": int64(m.Text.Layers), "mlp_ratio": m.Text.MLPRatio, "act": m.Text.Act, "causal": true, "pool_type": "argmax", "tokenizer": "clip",
	}
	if m.siglip() {
		text["causal"], text["pool_type"], text["proj_bias"], text["norm_eps"], text["tokenizer"] = false, "last", true, siglipEps, "hf"
	}
	return map[string]any{
		"image": map[string]any{"encoder": m.encoder(), "with": m.image()}, "text": map[string]any{"encoder": "transformer", "with": text},
		"loss": map[string]any{"plugin": m.Loss}, "embed_dim": int64(m.EmbedDim),
	}
}

const siglipEps = 1e-6

func (m Model) encoder() string {
	if m.Image.PatchSize == 0 {
		return "resnet-attnpool"
	}
	return "vit"
}

// image returns the settings of the image tower.
func (m Model) image() map[string]any {
	v := m.Image
	with := map[string]any{"image_size": int64(v.Size), "width": int64(v.Width), "heads": int64(v.Heads)}
	if v.PatchSize == 0 {
		with["layers"] = []any{int64(v.Stages[0]), int64(v.Stages[1]), int64(v.Stages[2]), int64(v.Stages[3])}
		with["stem"], with["downsample"], with["pool"] = "clip", "avgpool", "attention"
		return with
	}
	with["patch_size"], with["layers"], with["mlp_ratio"], with["act"], with["pool_type"] = int64(v.PatchSize), int64(v.Layers), v.MLPRatio, v.Act, "tok"
	if m.siglip() {
		with["pool_type"], with["norm_eps"] = "map", siglipEps
		for _, key := range []string{"no_class_token", "no_ln_pre", "no_proj", "patch_bias"} {
			with[key] = true
		}
		half := []any{.5, .5, .5}
		with["mean"], with["std"] = half, half
	}
	return with
}
