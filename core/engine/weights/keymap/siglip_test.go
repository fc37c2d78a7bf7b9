package keymap

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// siglipModel makes one tensor of each sort of a tiny SigLIP under tandem's names: width and embed_dim 2.
func siglipModel() (out []weights.Tensor) {
	shapes := map[string][]int{
		"logit_scale": {}, "logit_bias": {}, "positional_embedding": {4, 2}, "text_projection": {2, 2}, "text_projection.bias": {2},
		"token_embedding.weight": {9, 2}, "ln_final.weight": {2}, "transformer.resblocks.0.attn.in_proj_weight": {6, 2},
		"visual.positional_embedding": {4, 2}, "visual.conv1.weight": {2, 3, 4, 4}, "visual.conv1.bias": {2}, "visual.ln_post.bias": {2},
		"visual.attn_pool.latent": {1, 2}, "visual.attn_pool.norm.weight": {2}, "visual.attn_pool.mlp.fc1.weight": {8, 2},
	}
	for _, part := range []string{"q", "k", "v", "proj"} {
		shapes["visual.attn_pool."+part+".weight"], shapes["visual.attn_pool."+part+".bias"] = []int{2, 2}, []int{2}
	}
	for _, part := range []string{"ln_1", "ln_2", "attn.out_proj", "mlp.c_fc", "mlp.c_proj"} {
		shapes["visual.transformer.resblocks.11."+part+".bias"] = []int{2}
	}
	shapes["visual.transformer.resblocks.11.attn.in_proj_weight"] = []int{6, 2}
	seed := float32(0)
	for _, name := range sortedKeys(shapes) {
		v := make([]float32, elements(shapes[name]))
		for i := range v {
			seed++
			v[i] = seed
		}
		out = append(out, weights.FromF32(name, v, shapes[name]...))
	}
	return out
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// What is written for OpenCLIP has the names and shapes of its SigLIP models, and is read again with the same bits.
func TestSigLIPTravelsToOpenCLIPAndBack(t *testing.T) {
	theirs := OpenCLIP(siglipModel())
	shapes := map[string][]int{}
	for _, w := range theirs {
		shapes[w.Name] = w.Shape
	}
	for name, want := range map[string][]int{
		"visual.trunk.pos_embed": {1, 4, 2}, "visual.trunk.patch_embed.proj.weight": {2, 3, 4, 4}, "visual.trunk.blocks.11.attn.qkv.weight": {6, 2},
		"visual.trunk.blocks.11.norm2.bias": {2}, "visual.trunk.norm.bias": {2}, "visual.trunk.attn_pool.latent": {1, 1, 2},
		"visual.trunk.attn_pool.kv.weight": {4, 2}, "visual.trunk.attn_pool.q.bias": {2}, "visual.trunk.attn_pool.mlp.fc1.weight": {8, 2},
		"text.text_projection.weight": {2, 2}, "text.text_projection.bias": {2}, "text.transformer.resblocks.0.attn.in_proj_weight": {6, 2},
		"logit_bias": {},
	} {
		if got, ok := shapes[name]; !ok || elements(got) != elements(want) || len(got) != len(want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if len(theirs) != len(siglipModel())-2 { // kv.weight and kv.bias
		t.Errorf("%d tensors", len(theirs))
	}
	f, err := open(t, theirs, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, f, siglipModel())
}

// SiglipModel of transformers has query, key and value of the pool in one, and of the blocks apart.
func TestTransformersSigLIPIsRead(t *testing.T) {
	var theirs []weights.Tensor
	for _, w := range siglipModel() {
		name := w.Name
		switch {
		case strings.Contains(name, "attn_pool.q."):
			end := strings.TrimPrefix(name, "visual.attn_pool.q.")
			qk := below("", w, siglipTensor("visual.attn_pool.k."+end))
			theirs = append(theirs, below("vision_model.head.attention.in_proj_"+end, qk, siglipTensor("visual.attn_pool.v."+end)))
			continue
		case strings.Contains(name, "attn_pool.k."), strings.Contains(name, "attn_pool.v."):
			continue
		case name == latent:
			name, w.Shape = "vision_model.head.probe", []int{1, 1, 2}
		case strings.HasPrefix(name, "visual.attn_pool."):
			name = strings.NewReplacer("visual.attn_pool.proj.", "vision_model.head.attention.out_proj.", "visual.attn_pool.norm.", "vision_model.head.layernorm.",
				"visual.attn_pool.mlp.", "vision_model.head.mlp.").Replace(name)
		case name == "text_projection":
			w, name = derive(w, "", w.Shape, func(data []byte) []byte { return weights.Bytes(transposeMatrix(floats(data), 2, 2)) }), "text_model.head.weight"
		case name == "text_projection.bias":
			name = "text_model.head.bias"
		case name == "visual.conv1.bias":
			name = "vision_model.embeddings.patch_embedding.bias"
		case strings.HasPrefix(name, "logit"):
		default:
			parts, err := HF([]weights.Tensor{w})
			if err != nil {
				t.Fatal(err)
			}
			theirs = append(theirs, parts...)
			continue
		}
		w.Name = name
		theirs = append(theirs, w)
	}
	f, err := open(t, theirs, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, f, siglipModel())
}

func siglipTensor(name string) weights.Tensor {
	for _, w := range siglipModel() {
		if w.Name == name {
			return w
		}
	}
	panic(name)
}

// A grid without a class token is resampled as one with it.
func TestPositionsWithoutAClassTokenAreResampled(t *testing.T) {
	f, err := open(t, siglipModel(), nil)
	if err != nil {
		t.Fatal(err)
	}
	class, err := open(t, []weights.Tensor{weights.FromF32("visual.positional_embedding", append([]float32{9, 9}, mustF32(t, f, "visual.positional_embedding", 4, 2)...), 5, 2)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	bare, with := mustF32(t, f, "visual.positional_embedding", 9, 2), mustF32(t, class, "visual.positional_embedding", 10, 2)
	for i := range bare {
		if bare[i] != with[2+i] {
			t.Errorf("value %d is %g, with a class token %g", i, bare[i], with[2+i])
		}
	}
	if err := f.Check("visual.positional_embedding", 10, 2); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a grid with a class token of one without: %v", err)
	}
}

func mustF32(t *testing.T, f *File, name string, shape ...int) []float32 {
	t.Helper()
	v, err := f.F32(name, shape...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

const (
	siglipB16 = `{"image_size": 224, "patch_size": 16, "width": 768, "layers": 12, "heads": 12, "head_width": 64, "mlp_ratio": 4, "act": "gelu", "pool_type": "map",
		"no_class_token": true, "no_ln_pre": true, "no_proj": true, "patch_bias": true, "norm_eps": 1e-6, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}`
	siglipText = `{"context_length": 64, "vocab_size": 32000, "width": 768, "heads": 12, "layers": 12, "mlp_ratio": 4, "act": "gelu", "causal": false, "pool_type": "last",
		"proj_bias": true, "norm_eps": 1e-6, "tokenizer": "hf"}`
)

// The config that is written is that of OpenCLIP's ViT-B-16-SigLIP, and beside weights it says what the towers have to be.
func TestSigLIPsConfig(t *testing.T) {
	m := Model{EmbedDim: 768, Image: json.RawMessage(siglipB16), Text: json.RawMessage(siglipText), LogitBias: true}
	config, err := m.OpenCLIP()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"timm_model_name": "vit_base_patch16_siglip_224"`, `"timm_pool": "map"`, `"timm_proj": "none"`, `"custom_text": true`,
		`"no_causal_mask": true`, `"proj_bias": true`, `"eps": 0.000001`, `"pool_type": "last"`} {
		if !strings.Contains(string(config), want) {
			t.Errorf("no %s in %s", want, config)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "w.json"), config, 0o644); err != nil {
		t.Fatal(err)
	}
	beside := func(image, text string) error {
		_, err := Beside(filepath.Join(dir, "w.safetensors"), Wanted{Image: settings(t, image), Text: settings(t, text)})
		return err
	}
	if err := beside(siglipB16, siglipText); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ image, text, want string }{
		{strings.Replace(siglipB16, "1e-6", "0", 1), siglipText, "image.with.norm_eps: is 0.00001"},
		{strings.Replace(siglipB16, `"gelu"`, `"gelu_tanh"`, 1), siglipText, "image.with.act"},
		{siglipB16, strings.Replace(siglipText, `"proj_bias": true, `, "", 1), "text.with.proj_bias: is false"},
		{vitB32, siglipText, "image.with.no_class_token: is false"},
	} {
		if err := beside(c.image, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "w.json"), []byte(`{"vision_cfg": {"patch_size": 32}, "text_cfg": {"context_length": 77}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := beside(strings.Replace(vitB32, `"quick_gelu"`, `"gelu", "norm_eps": 1e-6`, 1), base); err == nil || !strings.Contains(err.Error(), "image.with.norm_eps: is 0.000001, but the weights' model has 0.00001") {
		t.Errorf("an epsilon that the weights' model does not have: %v", err)
	}
	for want, image := range map[string]string{
		"pooling map of this shape": strings.Replace(siglipB16, `"layers": 12`, `"layers": 2`, 1),
		"registers":                 strings.Replace(vitB32, `"heads"`, `"registers": 4, "heads"`, 1),
	} {
		if _, err := (Model{EmbedDim: 768, Image: json.RawMessage(image), Text: json.RawMessage(base)}).OpenCLIP(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := m.HF(); err == nil || !strings.Contains(err.Error(), "towers of SigLIP") {
		t.Errorf("transformers' CLIPModel: %v", err)
	}
}

// Every trunk has settings that lead back to its name.
func TestTrunksAreFoundByTheirSettings(t *testing.T) {
	for _, name := range append(append([]string{}, exactTrunks...), tanhTrunks...) {
		if v, ok := ofTrunk(name); !ok || v.trunk() != name {
			t.Errorf("%s: %q (%v)", name, v.trunk(), ok)
		}
	}
}
