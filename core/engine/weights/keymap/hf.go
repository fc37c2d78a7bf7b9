package keymap

import (
	"slices"
	"strings"

	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// meaning says what a tensor of transformers' CLIPModel or SiglipModel, or of timm, is in OpenCLIP's terms.
type meaning struct {
	name      string
	part      int // 0, 1, 2: query, key, value of a packed projection; -1: all of it
	transpose bool
	// block of so many equal blocks of rows is what is meant; of all when blocks is 0.
	block, blocks int
	axes          int // how many of the shape's axes count, the others being 1 and in front; 0: all
}

// whole gives the meaning of a tensor that is another's as it is.
func whole(name string) meaning { return meaning{name: name, part: -1} }

// parts returns how many tensors make up the one that is meant.
func (m meaning) parts() int {
	if m.part >= 0 {
		return 3
	}
	return 1
}

// hfWhole pairs names that stand for a tensor as it is: transformers' (CLIPModel, SiglipModel) and OpenCLIP's.
var hfWhole = [][2]string{
	{"text_model.embeddings.token_embedding.weight", "token_embedding.weight"},
	{"text_model.embeddings.position_embedding.weight", "positional_embedding"},
	{"vision_model.embeddings.class_embedding", "visual.class_embedding"},
	{"vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"},
	{"vision_model.embeddings.patch_embedding.bias", "visual.conv1.bias"},
	{"vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"},
	{"text_model.head.bias", "text_projection.bias"},
}

// hfTransposed pairs the final projections, [D, W] there and [W, D] here.
var hfTransposed = [][2]string{{"text_projection.weight", "text_projection"}, {"visual_projection.weight", "visual.proj"},
	{"text_model.head.weight", "text_projection"}}

// hfPool pairs names of SiglipModel's attention pool after vision_model.head. and visual.attn_pool.
var hfPool = [][2]string{{"attention.out_proj.", "proj."}, {"layernorm.", "norm."}, {"mlp.", "mlp."}}

// hfPrefixes pairs beginnings of names. The missing e is transformers' own; the second spelling is only read.
var hfPrefixes = [][2]string{
	{"text_model.final_layer_norm.", "ln_final."},
	{"vision_model.pre_layrnorm.", "visual.ln_pre."},
	{"vision_model.pre_layernorm.", "visual.ln_pre."},
	{"vision_model.post_layernorm.", "visual.ln_post."},
}

// hfTowers pairs the beginnings of blocks' names, hfBlock what follows the block's number.
var (
	hfTowers = [][2]string{
		{"text_model.encoder.layers.", "transformer.resblocks."}, {"vision_model.encoder.layers.", "visual.transformer.resblocks."}}
	hfBlock = [][2]string{
		{"self_attn.out_proj.", "attn.out_proj."}, {"layer_norm1.", "ln_1."}, {"layer_norm2.", "ln_2."},
		{"mlp.fc1.", "mlp.c_fc."}, {"mlp.fc2.", "mlp.c_proj."}}
	hfQKV = []string{"self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."}
)

const packed = "attn.in_proj_"

// fromSiglip translates a name of SiglipModel's attention pool.
func fromSiglip(name string) ([]meaning, bool) {
	rest, ok := strings.CutPrefix(name, "vision_model.head.")
	if !ok {
		return nil, false
	}
	if rest == "probe" {
		return []meaning{{name: latent, part: -1, axes: 2}}, true // [1, 1, W] there
	}
	if end, ok := strings.CutPrefix(rest, "attention.in_proj_"); ok {
		return blocksOf("q."+end, "k."+end, "v."+end), true
	}
	for _, p := range hfPool {
		if end, ok := strings.CutPrefix(rest, p[0]); ok {
			return []meaning{whole("visual.attn_pool." + p[1] + end)}, true
		}
	}
	return nil, false
}

// fromHF translates a name; an unknown one is its own meaning.
func fromHF(name string) meaning {
	same := whole(name)
	for _, w := range hfWhole {
		if name == w[0] {
			return whole(w[1])
		}
	}
	for _, w := range hfTransposed {
		if name == w[0] {
			return meaning{name: w[1], part: -1, transpose: true}
		}
	}
	for _, p := range hfPrefixes {
		if rest, ok := strings.CutPrefix(name, p[0]); ok {
			return whole(p[1] + rest)
		}
	}
	for _, tower := range hfTowers {
		rest, ok := strings.CutPrefix(name, tower[0])
		if !ok {
			continue
		}
		number, rest, ok := strings.Cut(rest, ".")
		if !ok {
			return same
		}
		for _, b := range hfBlock {
			if end, ok := strings.CutPrefix(rest, b[0]); ok {
				return whole(tower[1] + number + "." + b[1] + end)
			}
		}
		for i, q := range hfQKV {
			if end, ok := strings.CutPrefix(rest, q); ok {
				return meaning{name: tower[1] + number + "." + packed + end, part: i}
			}
		}
	}
	return same
}

// toHF translates an OpenCLIP name to that of transformers; "" when CLIPModel has no such tensor. A packed projection
// gets the name of its query; see HF.
func toHF(name string) (hf string, transpose bool) {
	if name == "visual.conv1.bias" || name == "text_projection.bias" { // SiglipModel's
		return "", false
	}
	for _, w := range hfWhole {
		if name == w[1] {
			return w[0], false
		}
	}
	for _, w := range hfTransposed {
		if name == w[1] {
			return w[0], true
		}
	}
	for _, p := range hfPrefixes {
		if rest, ok := strings.CutPrefix(name, p[1]); ok {
			return p[0] + rest, false
		}
	}
	for _, tower := range hfTowers {
		rest, ok := strings.CutPrefix(name, tower[1])
		if !ok {
			continue
		}
		number, rest, _ := strings.Cut(rest, ".")
		for _, b := range hfBlock {
			if end, ok := strings.CutPrefix(rest, b[1]); ok {
				return tower[0] + number + "." + b[0] + end, false
			}
		}
		if end, ok := strings.CutPrefix(rest, packed); ok {
			return tower[0] + number + "." + hfQKV[0] + end, false
		}
	}
	if name == LogitScale {
		return name, false
	}
	return "", false
}

// HF renames float32 tensors under OpenCLIP's names to those of transformers' CLIPModel: projections
// taken apart, transposed where they are there. Loaders are kept lazy. A tensor that CLIPModel does not
// have is fault.Invalid.
func HF(tensors []weights.Tensor) ([]weights.Tensor, error) {
	var out []weights.Tensor
	for _, t := range tensors {
		name, transpose := toHF(t.Name)
		if name == "" {
			return nil, fault.New(fault.Invalid, "transformers' CLIPModel has no place for %s", t.Name).
				WithHint("it is a ViT with tok pooling, a causal text transformer and a logit scale; use --format open_clip")
		}
		switch query := "." + hfQKV[0]; {
		case transpose:
			if len(t.Shape) != 2 {
				return nil, fault.New(fault.Invalid, "tensor %q is %v, want two axes", t.Name, t.Shape)
			}
			out = append(out, derive(t, name, []int{t.Shape[1], t.Shape[0]}, func(data []byte) []byte {
				return weights.Bytes(transposeMatrix(floats(data), t.Shape[0], t.Shape[1]))
			}))
		case strings.Contains(name, query):
			if len(t.Shape) == 0 || t.Shape[0]%3 != 0 {
				return nil, fault.New(fault.Invalid, "tensor %q is %v, want three parts", t.Name, t.Shape)
			}
			for i, part := range hfQKV {
				shape := slices.Clone(t.Shape)
				shape[0] /= 3
				out = append(out, derive(t, strings.Replace(name, query, "."+part, 1), shape, func(data []byte) []byte {
					n := len(data) / 3
					return data[i*n : (i+1)*n]
				}))
			}
		default:
			t.Name = name
			out = append(out, t)
		}
	}
	return out, nil
}

// derive makes a tensor whose bytes follow from another's when they are written.
func derive(t weights.Tensor, name string, shape []int, change func([]byte) []byte) weights.Tensor {
	return weights.Tensor{Name: name, DType: t.DType, Shape: shape, Load: func() ([]byte, error) {
		data, err := bytesOf(t)
		if err != nil {
			return nil, err
		}
		return change(data), nil
	}}
}

// bytesOf returns a tensor's bytes.
func bytesOf(t weights.Tensor) ([]byte, error) {
	if t.Data == nil && t.Load != nil {
		return t.Load()
	}
	return t.Data, nil
}

// floats copies little-endian float32 out of bytes of any alignment.
func floats(data []byte) []float32 {
	out := make([]float32, len(data)/4)
	copy(weights.Bytes(out), data)
	return out
}
