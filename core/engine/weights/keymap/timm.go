package keymap

import (
	"slices"
	"strings"

	"tandem/core/engine/weights"
)

// trunk begins the names of an image tower that OpenCLIP takes from timm: SigLIP's.
const trunk = "visual.trunk."

// latent names the query of SigLIP's attention pool, which no other tower has.
const latent = "visual.attn_pool.latent"

// The names of timm's VisionTransformer after trunk, and tandem's after "visual.": beginnings, and what follows a
// block's number.
var (
	timmPrefixes = [][2]string{{"patch_embed.proj.", "conv1."}, {"norm.", "ln_post."}}
	timmBlock    = [][2]string{{"norm1.", "ln_1."}, {"norm2.", "ln_2."}, {"attn.qkv.", packed}, {"attn.proj.", "attn.out_proj."},
		{"mlp.fc1.", "mlp.c_fc."}, {"mlp.fc2.", "mlp.c_proj."}}
)

// fromTimm translates a name of SigLIP's image tower; an unknown one is its own meaning.
func fromTimm(name string) []meaning {
	rest, ok := strings.CutPrefix(name, trunk)
	if !ok {
		return []meaning{whole(name)}
	}
	if rest == "pos_embed" {
		return []meaning{{name: "visual.positional_embedding", part: -1, axes: 2}} // [1, N, W] there
	}
	if pool, ok := strings.CutPrefix(rest, "attn_pool."); ok {
		if pool == "latent" {
			return []meaning{{name: latent, part: -1, axes: 2}} // [1, 1, W] there
		}
		if end, ok := strings.CutPrefix(pool, "kv."); ok {
			return blocksOf("k."+end, "v."+end)
		}
		return []meaning{whole("visual.attn_pool." + pool)}
	}
	for _, p := range timmPrefixes {
		if end, ok := strings.CutPrefix(rest, p[0]); ok {
			return []meaning{whole("visual." + p[1] + end)}
		}
	}
	if block, ok := strings.CutPrefix(rest, "blocks."); ok {
		number, part, _ := strings.Cut(block, ".")
		for _, b := range timmBlock {
			if end, ok := strings.CutPrefix(part, b[0]); ok {
				return []meaning{whole("visual.transformer.resblocks." + number + "." + b[1] + end)}
			}
		}
	}
	return []meaning{whole(name)}
}

// blocksOf gives the meanings of a tensor of the attention pool that holds others below each other.
func blocksOf(ends ...string) (all []meaning) {
	for i, end := range ends {
		all = append(all, meaning{name: "visual.attn_pool." + end, part: -1, block: i, blocks: len(ends)})
	}
	return all
}

// toTimm translates a name of tandem's SigLIP tower to that of timm in OpenCLIP; a name that has no other stays.
func toTimm(name string) string {
	rest, ok := strings.CutPrefix(name, "visual.")
	switch {
	case !ok:
		return name
	case rest == "positional_embedding":
		return trunk + "pos_embed"
	case strings.HasPrefix(rest, "attn_pool."):
		return trunk + rest
	}
	for _, p := range timmPrefixes {
		if end, ok := strings.CutPrefix(rest, p[1]); ok {
			return trunk + p[0] + end
		}
	}
	if block, ok := strings.CutPrefix(rest, "transformer.resblocks."); ok {
		number, part, _ := strings.Cut(block, ".")
		for _, b := range timmBlock {
			if end, ok := strings.CutPrefix(part, b[1]); ok {
				return trunk + "blocks." + number + "." + b[0] + end
			}
		}
	}
	return name
}

// OpenCLIP gives tensors under tandem's names those of OpenCLIP, where they differ: those of SigLIP's towers, whose image
// tower is timm's and whose text tower's names begin with "text.", and those of a projection with a bias, which is a
// linear layer there. Loaders are kept lazy.
func OpenCLIP(tensors []weights.Tensor) []weights.Tensor {
	byName := map[string]weights.Tensor{}
	for _, t := range tensors {
		byName[t.Name] = t
	}
	_, siglip := byName[latent]
	_, linear := byName["text_projection.bias"]
	if !siglip && !linear {
		return tensors
	}
	var out []weights.Tensor
	for _, t := range tensors {
		rest, isKey := strings.CutPrefix(t.Name, "visual.attn_pool.k.")
		switch {
		case strings.HasPrefix(t.Name, "visual.attn_pool.v."): // goes with k
			continue
		case isKey:
			t = below(trunk+"attn_pool.kv."+rest, t, byName["visual.attn_pool.v."+rest])
		case siglip && (t.Name == latent || t.Name == "visual.positional_embedding"):
			t.Name, t.Shape = toTimm(t.Name), append([]int{1}, t.Shape...)
		case t.Name == "text_projection" && linear:
			t = derive(t, "text_projection.weight", []int{t.Shape[1], t.Shape[0]}, func(data []byte) []byte {
				return weights.Bytes(transposeMatrix(floats(data), t.Shape[0], t.Shape[1]))
			})
		case siglip:
			t.Name = toTimm(t.Name)
		}
		if siglip && Modality(t.Name) == "text" {
			t.Name = "text." + t.Name
		}
		out = append(out, t)
	}
	return out
}

// below makes a tensor of the rows of a and, below them, those of b.
func below(name string, a, b weights.Tensor) weights.Tensor {
	shape := slices.Clone(a.Shape)
	shape[0] += b.Shape[0]
	return weights.Tensor{Name: name, DType: a.DType, Shape: shape, Load: func() ([]byte, error) {
		x, err := bytesOf(a)
		if err != nil {
			return nil, err
		}
		y, err := bytesOf(b)
		return slices.Concat(x, y), err
	}}
}
