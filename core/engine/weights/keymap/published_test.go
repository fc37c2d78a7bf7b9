package keymap

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// The path of a model within another is taken off, wherever a wrapper stands, and said.
func TestWrappedNamesAreUnwrapped(t *testing.T) {
	for want, change := range map[string]func(string) string{
		"the prefix model. ":      func(n string) string { return "model." + n },
		"the prefix clip_model. ": func(n string) string { return "clip_model." + n },
		"the prefix model.net. ":  func(n string) string { return "model.module.net." + n },
		"the prefix student. ":    func(n string) string { return "_orig_mod.student." + n },
		"the prefix image.enc. ": func(n string) string { // a tower at each of two paths
			if Modality(n) == "image" {
				return "image.enc." + n
			}
			return "txt." + n
		},
		"": func(n string) string { return strings.Replace(n, "visual.", "visual._orig_mod.module.", 1) },
	} {
		f, err := open(t, renamed(model(), change), nil)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		same(t, f, model())
		if said := strings.Join(f.Remarks(), "\n"); !strings.Contains(said, want) || want == "" && said != "" {
			t.Errorf("said %q, want %q", said, want)
		}
	}
	hf, err := HF(model())
	if err != nil {
		t.Fatal(err)
	}
	f, err := open(t, append(renamed(hf, func(n string) string { return "clip." + n }), weights.FromF32("decoder.weight", []float32{1}, 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, f, model())
	if said := strings.Join(f.Remarks(), "\n"); !strings.Contains(said, "1 tensors beside the model are left out: decoder.weight") {
		t.Errorf("said %q", said)
	}
}

func TestTwoModelsInAFileAreNotGuessed(t *testing.T) {
	both := append(renamed(model(), func(n string) string { return "student." + n }), renamed(model(), func(n string) string { return "teacher." + n })...)
	_, err := open(t, both, nil)
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Invalid || !strings.Contains(f.Msg, "two models") || !strings.Contains(f.Detail, `startswith("student.")`) {
		t.Errorf("%v", err)
	}
}

// Models that the encoders cannot express are called by their names.
func TestFamiliesAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ modality, want string }{
		"visual.trunk.blocks.0.attn.qkv.weight":                {"image", "timm"},
		"visual.trunk.stages.0.blocks.0.conv_dw.weight":        {"image", "ConvNeXt"},
		"visual.trunk.attn_pool.latent":                        {"image", "SigLIP"},
		"visual.trunk.blocks.0.attn.rope":                      {"image", "EVA"},
		"visual.attn_pool.query":                               {"image", "CoCa"},
		"visual.transformer.resblocks.0.ls_1.gamma":            {"image", "LayerScale"},
		"transformer.resblocks.0.ls_2.gamma":                   {"text", "LayerScale"},
		"vision_model.head.probe":                              {"image", "SigLIP"},
		"text_model.head.bias":                                 {"text", "SigLIP"},
		"text.transformer.embeddings.word_embeddings.weight":   {"text", "BERT"},
		"text.transformer.encoder.block.0.layer.0.k.weight":    {"text", "T5"},
		"text_decoder.resblocks.0.ln_1.weight":                 {"text", "CoCa"},
		"text.cls_emb":                                         {"text", "CoCa"},
		"positional_embedding_res":                             {"text", "Long-CLIP"},
		"visual.register_tokens":                               {"image", "register"},
		"cls_token":                                            {"image", "DINO"},
		"layer1.0.conv1.weight":                                {"image", "torchvision"},
		"visual.transformer.resblocks.0.attn.ln_q.weight":      {"image", "QK norm"},
		"base_model.model.visual.proj.lora_A.default.weight":   {"image", "LoRA"},
		"visual.transformer.resblocks.0.mlp.c_fc.qweight":      {"image", "quantised"},
		"image_encoder.model.patch_emb.0.block.conv.weight":    {"image", "MobileCLIP"},
		"vision_model.encoder.layers.0.layer_scale1.lambda1":   {"image", "LayerScale"},
		"model.layers.0.self_attn.q_proj.weight":               {"text", "language model"},
		"visual_encoder.blocks.0.norm1.weight":                 {"image", "BLIP"},
		"text.transformer.encoder.layer.0.output.dense.weight": {"text", "transformers"},
	} {
		f, err := open(t, []weights.Tensor{weights.FromF32(name, []float32{1}, 1)}, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		if e := f.Unlike(c.modality); e == nil || !strings.Contains(e.Msg, c.want) || !strings.Contains(e.Msg, name) || e.Hint == "" {
			t.Errorf("%s: %v, want %q", name, e, c.want)
		}
	}
	f, err := open(t, model(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, modality := range []string{"image", "text"} {
		if e := f.Unlike(modality); e != nil {
			t.Errorf("CLIP's own %s tower: %v", modality, e)
		}
	}
}

func settings(t *testing.T, text string) (with map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &with); err != nil {
		t.Fatal(err)
	}
	return with
}

// What lies beside weights tells what no tensor shows; a spec that says otherwise is refused, or told.
func TestConfigsBesideWeightsAreHeldAgainstTheSpec(t *testing.T) {
	want := Wanted{
		Image: settings(t, `{"image_size": 224, "patch_size": 32, "width": 768, "layers": 12, "heads": 0, "head_width": 64, "mlp_ratio": 4, "act": "gelu", "pool_type": "tok",
			"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}`),
		Text: settings(t, `{"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12, "mlp_ratio": 4, "act": "gelu", "causal": true, "pool_type": "eos",
			"tokenizer": "clip"}`),
	}
	const vision, words = `"vision_cfg": {"image_size": 224, "patch_size": 32, "width": 768, "layers": 12`, `"text_cfg": {"width": 512, "heads": 8, "layers": 12`
	open := func(more, v, w string) string {
		return `{"embed_dim": 512` + more + `, ` + vision + v + `}, ` + words + w + `}}`
	}
	for i, c := range []struct{ file, config, fault, remark string }{
		{"open_clip_config.json", open("", "", ""), "", ""},
		{"w.json", open("", "", ""), "", ""},
		{"open_clip_config.json", `{"model_cfg": ` + open(`, "quick_gelu": true`, "", "") + `}`, "image.with.act: is gelu, but the weights' model has quick_gelu", ""},
		{"w.json", open("", `, "head_width": 32`, ""), "image.with.heads: is 12, but the weights' model has 24", ""},
		{"open_clip_config.json", open("", `, "pool_type": "avg"`, ""), "image.with.pool_type", ""},
		{"open_clip_config.json", open("", `, "norm_kwargs": {"eps": 1e-6}`, ""), "image.with.norm_eps: is 0.00001, but the weights' model has 0.000001", ""},
		{"open_clip_config.json", open("", `, "no_ln_pre": true`, ""), "image.with.no_ln_pre: is false", ""},
		{"open_clip_config.json", open("", `, "ls_init_value": 1e-4`, ""), "cannot express: ls_init_value", ""},
		{"open_clip_config.json", open("", `, "timm_model_name": "convnext_base"`, ""), "convnext_base", ""},
		{"open_clip_config.json", open("", "", `, "no_causal_mask": true`), "text.with.causal", ""},
		{"open_clip_config.json", open("", "", `, "hf_tokenizer_name": "facebook/xlm-v-base", "vocab_size": 901629`), "another tokenizer, facebook/xlm-v-base", ""},
		{"open_clip_config.json", open("", "", `, "hf_model_name": "xlm-roberta-base"`), "transformers' text tower xlm-roberta-base", ""},
		{"open_clip_config.json", open("", "", `, "context_length": 64`), "", "context_length 64, text.with.context_length is 77; positions are resampled"},
		{"open_clip_config.json", `{"model_cfg": ` + open("", "", "") + `, "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear"}}`, "",
			"mean [0.48,0.46,0.41], image.with.mean is [0.5,0.5,0.5]"},
		{"config.json", `{"model_type": "clip", "vision_config": {"hidden_act": "gelu"}, "text_config": {"hidden_act": "gelu"}}`, "", ""},
		{"config.json", `{"model_type": "clip", "vision_config": {}, "text_config": {}}`, "", ""},
		{"config.json", `{"model_type": "clip", "text_config": {"projection_dim": 512}}`, "text.with.act: is gelu, but the weights' model has quick_gelu", ""},
		{"config.json", `{"model_type": "siglip", "vision_config": {"image_size": 224}}`, "image.with.pool_type: is tok, but the weights' model has map", ""},
		{"config.json", `{"model_type": "siglip2", "vision_config": {}}`, "transformers' siglip2", ""},
		{"config.json", `{"model_type": "metaclip_2"}`, "worldwide", ""},
		{"config.json", `{"name": "something else"}`, "", ""},
		{"config.json", `no JSON`, "", ""},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.config), 0o644); err != nil {
			t.Fatal(err)
		}
		remarks, err := Beside(filepath.Join(dir, "w.safetensors"), want)
		text := ""
		if err != nil {
			text = err.Error()
		}
		said := strings.Join(remarks, "\n")
		if !strings.Contains(text, c.fault) || (text == "") != (c.fault == "") || !strings.Contains(said, c.remark) || (said == "") != (c.remark == "") {
			t.Errorf("%d, %s: fault %q, want %q; said %q, want %q", i, c.file, text, c.fault, said, c.remark)
		}
	}
}

func TestFoldersOfDownloadedModels(t *testing.T) {
	touch := func(dir, name, content string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	dir := t.TempDir()
	if _, err := Locate(dir); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an empty folder: %v", err)
	}
	touch(dir, "pytorch_model.bin", "PK\x03\x04....archive/data.pkl")
	if got, err := Locate(dir); err != nil || filepath.Base(got[0]) != "pytorch_model.bin" {
		t.Errorf("a folder with PyTorch's file: %v %v", got, err)
	}
	if err := Check(filepath.Join(dir, "pytorch_model.bin")); err == nil || !strings.Contains(fault.Format(err), "cut short") {
		t.Errorf("a file of PyTorch that is cut short: %v", err)
	}
	touch(dir, "a.safetensors", "")
	if got, err := Locate(dir); err != nil || filepath.Base(got[0]) != "a.safetensors" {
		t.Errorf("the only one: %v %v", got, err)
	}
	touch(dir, "b.safetensors", "")
	if _, err := Locate(dir); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "2 .safetensors files") {
		t.Errorf("two: %v", err)
	}
	touch(dir, "model.safetensors", "")
	if got, err := Locate(dir); err != nil || filepath.Base(got[0]) != "model.safetensors" {
		t.Errorf("model.safetensors among others: %v %v", got, err)
	}
	if _, err := Locate(filepath.Join(dir, "modle.safetensors")); fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Format(err), "did you mean "+filepath.Join(dir, "model.safetensors")) {
		t.Errorf("a slip: %v", err)
	}
}

// A model in several files is one model.
func TestPartsAreJoined(t *testing.T) {
	dir, all := t.TempDir(), model()
	part := []string{filepath.Join(dir, "model-00001-of-00002.safetensors"), filepath.Join(dir, "model-00002-of-00002.safetensors")}
	index := map[string]string{}
	for i, tensors := range [][]weights.Tensor{all[:5], all[5:]} {
		if err := weights.Write(part[i], tensors, nil); err != nil {
			t.Fatal(err)
		}
		for _, x := range tensors {
			index[x.Name] = filepath.Base(part[i])
		}
	}
	data, _ := json.Marshal(map[string]any{"weight_map": index})
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	found, err := Locate(dir)
	if err != nil || len(found) != 2 {
		t.Fatal(found, err)
	}
	joined := filepath.Join(dir, "joined.safetensors")
	if err := Join(found, joined); err != nil {
		t.Fatal(err)
	}
	f, err := Open(joined)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	same(t, f, all)
	os.Remove(part[1])
	os.Remove(joined)
	if _, err := Locate(dir); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "model-00002-of-00002") {
		t.Errorf("a part that is missing: %v", err)
	}
}
