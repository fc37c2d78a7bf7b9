package starter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"gopkg.in/yaml.v3"
)

// Spec writes the spec that stands in file. schema is the path of its JSON Schema, relative to it.
func (d *Data) Spec(file, schema string) []byte {
	r := d.Recipe()
	dir := filepath.Dir(file)
	page := page{Data: d, Recipe: r, File: filepath.Base(file), Schema: schema}
	page.TrainWith = d.with(d.Train, dir, true)
	page.EvalWith = page.TrainWith
	switch {
	case d.Eval != nil:
		page.EvalWith = d.with(*d.Eval, dir, false)
	case r.TestShare > 0:
		share := setting{"test_fraction", fmt.Sprint(r.TestShare), "this share is held out, chosen by a hash of each picture's path"}
		page.TrainWith = append(page.TrainWith, setting{"split", "train", ""}, share)
		page.EvalWith = append(page.EvalWith[:len(page.EvalWith):len(page.EvalWith)], setting{"split", "test", ""}, setting{share.Key, share.Value, ""})
	}
	var b bytes.Buffer
	if err := pages.Execute(&b, page); err != nil {
		panic("starter: " + err.Error())
	}
	return b.Bytes()
}

// page holds what the template reads.
type page struct {
	*Data
	Recipe
	File, Schema        string
	TrainWith, EvalWith []setting
}

// setting holds one key of a with block, as YAML.
type setting struct{ Key, Value, Comment string }

// Dataset returns the plugin that reads the data.
func (d *Data) Dataset() string {
	if d.Plugin != "" {
		return d.Plugin
	}
	if d.IsTable {
		return "csv"
	}
	return "imagefolder"
}

// with returns the settings of the dataset plugin for a part, its paths relative to a folder. train says that it is the part to train on.
func (d *Data) with(p Part, dir string, train bool) []setting {
	if d.Plugin != "" {
		return d.withSet(p, dir, train)
	}
	if !d.IsTable {
		out := []setting{{"root", scalar(relative(dir, p.Path)), ""}}
		if d.Captions && d.NClasses == 0 {
			return append(out, setting{"sidecar", "only", "captions from cat.txt beside cat.jpg; pictures without one are left out"})
		}
		return append(out, setting{"templates", `["a photo of a {}", "a {}", "a picture of a {}"]`, "captions; {} is the name of the class"})
	}
	out := []setting{{"file", scalar(relative(dir, p.Path)), ""}}
	if p.Root != "" {
		out = append(out, setting{"root", scalar(relative(dir, p.Root)), "the picture files are relative to it"})
	}
	out = append(out, setting{"image_column", scalar(d.Table.Image), ""})
	texts := make([]string, len(d.Texts))
	for i, t := range d.Texts {
		texts[i] = scalar(t)
	}
	out = append(out, setting{"caption_columns", "[" + strings.Join(texts, ", ") + "]", ""})
	if d.Label != "" {
		out = append(out, setting{"label_column", scalar(d.Label), "for zero-shot classification"})
	}
	return out
}

// relative returns a path relative to a folder, unless it is far away.
func relative(dir, path string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		if rel, err := filepath.Rel(abs, path); err == nil && !strings.HasPrefix(rel, "../../") {
			return rel
		}
	}
	return path
}

var plainWord = regexp.MustCompile(`^[A-Za-z./_][A-Za-z0-9./_-]*$`)

// scalar writes a text as YAML that reads back as this text, also inside [ ].
func scalar(text string) string {
	var back any
	if plainWord.MatchString(text) && yaml.Unmarshal([]byte(text), &back) == nil && back == any(text) {
		return text
	}
	var b strings.Builder
	enc := json.NewEncoder(&b) // a JSON text is one of YAML
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text)
	return strings.TrimSpace(b.String())
}

var pages = template.Must(template.New("spec").Funcs(template.FuncMap{"scalar": scalar, "join": strings.Join}).Parse(
	`# yaml-language-server: $schema={{.Schema}}
#
# A first experiment with your own pictures, written by runner init. What stands behind a # was guessed from
# {{.Train.Pictures}} pictures: change what you know better. An editor with a YAML language server completes and explains
# every key; docs/spec.md lists them all.
#
#   runner data peek {{.File}} -o sheet.png  # samples as the towers see them
#   runner explain {{.File}}  # every setting, and what is wrong
#   runner run {{.File}}  # train; Ctrl-C stops, runner run --resume goes on
#   runner list
name: {{.Name}}
description: {{scalar (print "first experiment on " .Name)}}

# A small Vision Transformer. Others: encoder: resnet-attnpool, or a plugin of your own by its path.
image:
  encoder: vit
  with:
    image_size: {{.ImageSize}}  # {{if .PictureWidth}}your pictures are {{.PictureWidth}} × {{.PictureHeight}} in the median; {{end}}224 is usual, and costs {{.Cost}} times the patches at patch_size 16
    patch_size: {{.PatchSize}}  # divides image_size
    width: {{.Width}}
    layers: {{.Layers}}
    head_width: 32

text:
  encoder: transformer
  with:
    context_length: {{.Context}}  # tokens of a caption; {{if .Words}}the longest seen has {{.Words}} words{{else}}captions are short{{end}}
    vocab_size: {{.Vocabulary}}  # byte pairs, learned from the training captions
    width: {{.TextWidth}}
    layers: {{.TextLayers}}
    heads: {{.Heads}}

loss: {plugin: clip}  # or siglip
embed_dim: {{.EmbedDim}}

# To start from published weights instead (their shapes decide the settings above):
# init: {weights: open_clip_model.safetensors}

data:
  train:
    dataset: {{.Dataset}}
    with:
{{- range .TrainWith}}
      {{.Key}}: {{.Value}}{{if .Comment}}  # {{.Comment}}{{end}}
{{- end}}
    augment: {random_resized_crop: {scale: [0.7, 1]}}  # mirror images too: hflip: 0.5

eval:
{{- if not .Apart}}
  # These are the training pictures: {{.Train.Pictures}} are too few to hold some out. The figures say what was memorised.
{{- end}}
  - dataset: {{.Dataset}}
    name: {{.Name}}
    with:
{{- range .EvalWith}}
      {{.Key}}: {{.Value}}
{{- end}}
{{- if .Zero}}
    zero_shot:  # which of {{.NClasses}} classes is it? Chance is {{.Chance}} %
      classes: label
      templates: ["a photo of a {}", "a {}", "a picture of a {}"]
{{- end}}
    retrieval: {{.Captions}}  # recall from pictures to captions and back

train:
  batch_size: {{.Batch}}  # {{if .Captions}}larger is better, as long as memory lasts{{else}}pictures of one class in one batch count as wrong partners: not many times the {{.NClasses}} classes{{end}}
  epochs: {{.Epochs}}  # about {{.Steps}} steps
  lr: {{.LR}}
  weight_decay: 0.1
  warmup_steps: {{.Warmup}}
  max_grad_norm: 1
  eval_every: {{.EvalEvery}} epochs
  checkpoint_every: {{.EvalEvery}} epochs
device: auto  # a GPU when one can be used
seed: 0

# A comparison: uncomment it, and runner run trains each variant under each seed; runner ablation {{.Name}} prints the table.
# ablate:
#   design: one-at-a-time
#   baseline: {loss: clip}
#   factors:
#     loss: {clip: {}, siglip: {loss.plugin: siglip}}
#   seeds: [0, 1, 2]
`))

// Cost returns how many times the patches of this recipe 224 pixels in patches of 16 have.
func (p page) Cost() int { return max(1, 14*14/((p.ImageSize/p.PatchSize)*(p.ImageSize/p.PatchSize))) }

// Heads returns the text tower's attention heads, of 32 channels each.
func (p page) Heads() int { return p.TextWidth / 32 }

// Zero reports whether there are classes to tell apart.
func (p page) Zero() bool { return p.NClasses > 1 && (!p.IsTable || p.Label != "") }

// Apart reports whether the evaluation has pictures of its own.
func (p page) Apart() bool { return p.Data.Eval != nil || p.TestShare > 0 }

// Chance returns the accuracy of guessing, in percent.
func (p page) Chance() string { return fmt.Sprintf("%.2g", 100/float64(p.NClasses)) }
