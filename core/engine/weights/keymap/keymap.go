// Package keymap reads published CLIP weights, whoever named their tensors, and writes them for others.
//
// Inside tandem every parameter has OpenCLIP's name, which is also OpenAI's:
//
//	logit_scale, logit_bias
//	positional_embedding, text_projection [W, D], token_embedding.weight, ln_final.*, transformer.resblocks.N.*
//	visual.class_embedding, visual.positional_embedding, visual.proj [W, D], visual.conv1.weight, visual.ln_pre.*,
//	visual.ln_post.*, visual.transformer.resblocks.N.*          (ViT)
//	visual.conv1.weight …, visual.layer1.0.*, visual.attnpool.*  (ResNet)
//	visual.conv1.bias, visual.attn_pool.{latent,q,k,v,proj,norm,mlp}.*, text_projection.bias  (SigLIP)
//
// Open also understands
//
//   - the path of the model in another ("model.", "clip_model.", "student."), the wrappers "module", "_orig_mod" and their
//     like anywhere in a name, and "text." of OpenCLIP's CustomTextCLIP,
//   - the names of transformers' CLIPModel and SiglipModel (text_model.…, vision_model.…), whose query, key and value
//     projections are apart and whose final projections are transposed,
//   - the names of timm in OpenCLIP's SigLIP models (visual.trunk.…), whose attention pool has k and v in one,
//   - those of transformers' BertModel and RobertaModel, alone, in a model with a head or as OpenCLIP's HFTextEncoder,
//   - F16 and BF16, which are widened.
//
// It leaves out what is no parameter: input_resolution, context_length, vocab_size, attention masks,
// position_ids and num_batches_tracked. It knows nothing of encoders: what a network needs is asked for
// by name and shape.
package keymap

import (
	"maps"
	"slices"
	"strings"

	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// The metadata keys of files that tandem exports. Others ignore them.
const (
	MetaImage     = "tandem.image"     // JSON of the image network's config
	MetaText      = "tandem.text"      // JSON of the text network's config
	MetaTokenizer = "tandem.tokenizer" // the tokenizer, as core/media/token saves it
)

// Names of the two scalars of objectives.
const (
	LogitScale = "logit_scale" // ln of what cosines are multiplied by
	LogitBias  = "logit_bias"
)

// A File reads published weights under OpenCLIP's names.
type File struct {
	f       *weights.File
	path    string
	hf      bool
	timm    bool // SigLIP's image tower in OpenCLIP
	bert    bool // the text tower is of BERT's family
	entries map[string]*entry
	left    []string // names of no part of a CLIP model
	remarks []string
}

// An entry makes a tensor of one in the file, of a block of its rows, or of three below each other.
type entry struct {
	meaning
	files []string // names in the file
	shape []int
}

// Open opens a safetensors file. Its faults are those of weights.Open; two tensors of one meaning are
// fault.Invalid, as is a file that tandem itself keeps as a checkpoint.
func Open(path string) (*File, error) {
	f, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	k := &File{f: f, path: path, entries: map[string]*entry{}}
	if err := k.index(); err != nil {
		f.Close()
		return nil, err
	}
	return k, nil
}

func (k *File) invalid(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format, args...).WithFile(k.path, 0, 0)
}

// index finds the meaning of every tensor.
func (k *File) index() error {
	if format := k.f.Metadata()["format"]; weights.IsCheckpoint(format) {
		return k.invalid("a part of a tandem checkpoint (%s), not published weights", format).
			WithHint("name the checkpoint's folder, or export the run: runner export RUN --format open_clip -o FILE")
	}
	names, err := k.stripNames()
	if err != nil {
		return err
	}
	for bare := range names {
		k.hf = k.hf || strings.HasPrefix(bare, "text_model.") || strings.HasPrefix(bare, "vision_model.")
		k.timm = k.timm || bare == trunk+"attn_pool.latent"
		k.bert = k.bert || bare == bertMark || strings.HasSuffix(bare, "."+bertMark)
	}
	for _, bare := range slices.Sorted(maps.Keys(names)) {
		if err := k.addTensor(bare, names[bare]); err != nil {
			return err
		}
	}
	for name, e := range k.entries {
		if err := k.measure(name, e); err != nil {
			return err
		}
	}
	return nil
}

// addTensor files a tensor under its OpenCLIP names.
func (k *File) addTensor(bare, name string) error {
	all := []meaning{whole(bare)}
	own, isBERT := fromBERT(bare)
	switch pool, isPool := fromSiglip(bare); {
	case k.bert && isBERT:
		all[0] = own
	case k.hf && isPool:
		all = pool
	case k.hf:
		all[0] = fromHF(bare)
	case k.timm && strings.HasPrefix(bare, trunk):
		all = fromTimm(bare)
	case bare == "text_projection.weight": // OpenCLIP's proj_bias: a linear layer
		all[0] = meaning{name: "text_projection", part: -1, transpose: true}
	}
	for _, to := range all {
		e := k.entries[to.name]
		if e == nil {
			e = &entry{meaning: to, files: make([]string, to.parts())}
			k.entries[to.name] = e
		}
		at := max(to.part, 0)
		if at >= len(e.files) || e.files[at] != "" {
			return k.invalid("%q is %s a second time", name, to.name)
		}
		e.files[at] = name
	}
	return nil
}

// measure finds the shape of an entry.
func (k *File) measure(name string, e *entry) error {
	rows := 0
	for i, part := range e.files {
		info, ok := k.f.Info(part)
		if !ok {
			return k.invalid("%s lacks its %s projection", name, [...]string{"query", "key", "value"}[i])
		}
		if i > 0 && (len(info.Shape) == 0 || !slices.Equal(info.Shape[1:], e.shape[1:])) {
			return k.invalid("%q is %v, of another shape than %q", part, info.Shape, e.files[0])
		}
		e.shape = slices.Clone(info.Shape)
		if len(e.files) > 1 && len(info.Shape) > 0 {
			rows += info.Shape[0]
		}
	}
	switch {
	case len(e.files) > 1:
		if len(e.shape) == 0 {
			return k.invalid("%q is a scalar", e.files[0])
		}
		e.shape[0] = rows
	case e.blocks > 0:
		if len(e.shape) == 0 || e.shape[0]%e.blocks != 0 {
			return k.invalid("%q is %v, want %d equal parts", e.files[0], e.shape, e.blocks)
		}
		e.shape[0] /= e.blocks
	}
	for e.axes > 0 && len(e.shape) > e.axes && e.shape[0] == 1 {
		e.shape = e.shape[1:]
	}
	if e.transpose {
		if len(e.shape) != 2 {
			return k.invalid("%q is %v, want two axes", e.files[0], e.shape)
		}
		e.shape = []int{e.shape[1], e.shape[0]}
	}
	return nil
}

// isSkipped reports whether a tensor is no parameter.
func isSkipped(bare string) bool {
	switch bare {
	case "input_resolution", "context_length", "vocab_size":
		return true
	}
	for _, suffix := range []string{"attn_mask", "position_ids", "num_batches_tracked"} {
		if bare == suffix || strings.HasSuffix(bare, "."+suffix) {
			return true
		}
	}
	return false
}

// Layout returns whose names the file uses: open_clip or hf.
func (k *File) Layout() string {
	if k.hf {
		return "hf"
	}
	return "open_clip"
}

// Names returns the tensors' OpenCLIP names, sorted. A tensor of unknown meaning keeps its own.
func (k *File) Names() []string { return slices.Sorted(maps.Keys(k.entries)) }

// Metadata returns the file's metadata.
func (k *File) Metadata() map[string]string { return k.f.Metadata() }

// Shape returns the shape of a tensor, false when there is none of that name.
func (k *File) Shape(name string) ([]int, bool) {
	e, ok := k.entries[name]
	if !ok {
		return nil, false
	}
	return slices.Clone(e.shape), true
}

// Check reports whether F32 would succeed for a name and shape.
func (k *File) Check(name string, shape ...int) error {
	e, ok := k.entries[name]
	if !ok {
		if len(k.left) > 0 {
			return k.invalid("tensor %q is missing; the file has %s", name, some(slices.Sorted(slices.Values(k.left))))
		}
		return k.invalid("tensor %q is missing", name)
	}
	for _, part := range e.files {
		info, _ := k.f.Info(part)
		if info.DType != weights.F32 && info.DType != weights.F16 && info.DType != weights.BF16 {
			return k.invalid("tensor %q is %s, want F32, F16 or BF16", part, info.DType).WithHint("convert the weights with PyTorch: {k: v.float() for k, v in …}")
		}
	}
	if slices.Equal(e.shape, shape) || scalar(e.shape) && scalar(shape) {
		return nil
	}
	if _, err := resizer(name, e.shape, shape); err != nil {
		return k.invalid("tensor %q is %v, want %v", name, e.shape, shape)
	}
	return nil
}

func scalar(shape []int) bool { return len(shape) == 0 || len(shape) == 1 && shape[0] == 1 }

// F32 reads a tensor with the shape wanted, row-major. Positions of another length are resampled as
// OpenCLIP does: a picture's as a square grid, bicubic and antialiased, the class token kept; a text's
// linearly. Every other difference of shape is fault.Invalid; [] and [1] are the same.
func (k *File) F32(name string, shape ...int) ([]float32, error) {
	if err := k.Check(name, shape...); err != nil {
		return nil, err
	}
	e := k.entries[name]
	var values []float32
	for _, part := range e.files {
		v, err := k.f.F32(part)
		if err != nil {
			return nil, err
		}
		if len(e.files) == 1 {
			values = v
		} else {
			values = append(values, v...)
		}
	}
	if e.blocks > 0 {
		n := len(values) / e.blocks
		values = values[e.block*n : (e.block+1)*n]
	}
	if e.transpose {
		values = transposeMatrix(values, e.shape[1], e.shape[0])
	}
	if !slices.Equal(e.shape, shape) && !scalar(shape) {
		resize, err := resizer(name, e.shape, shape)
		if err != nil {
			return nil, err
		}
		values = resize(values)
	}
	return values, nil
}

// Scalar reads a tensor of one element; false when the file has none of that name.
func (k *File) Scalar(name string) (float32, bool, error) {
	if _, ok := k.entries[name]; !ok {
		return 0, false, nil
	}
	values, err := k.F32(name)
	if err != nil {
		return 0, false, err
	}
	return values[0], true, nil
}

// Close closes the file.
func (k *File) Close() error { return k.f.Close() }

// transposeMatrix returns x [rows, cols] as [cols, rows].
func transposeMatrix(x []float32, rows, cols int) []float32 {
	out := make([]float32, len(x))
	for r := range rows {
		for c := range cols {
			out[c*rows+r] = x[r*cols+c]
		}
	}
	return out
}

// Modality says whose parameter a name is: image, text or loss.
func Modality(name string) string {
	switch {
	case strings.HasPrefix(name, "visual."):
		return "image"
	case name == LogitScale || name == LogitBias:
		return "loss"
	}
	return "text"
}
