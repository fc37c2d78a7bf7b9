package keymap

import (
	"fmt"
	"strings"
)

// transformersDefaults holds what the configs of CLIPModel and SiglipModel leave out, of pictures and of texts.
var transformersDefaults = map[string][2]map[string]any{
	"clip": {
		{"hidden_size": 768., "intermediate_size": 3072., "num_hidden_layers": 12., "num_attention_heads": 12., "image_size": 224.,
			"patch_size": 32., "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
		{"vocab_size": float64(CLIPVocabulary), "hidden_size": 512., "intermediate_size": 2048., "num_hidden_layers": 12.,
			"num_attention_heads": 8., "max_position_embeddings": 77., "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
	},
	"siglip": {
		{"hidden_size": 768., "intermediate_size": 3072., "num_hidden_layers": 12., "num_attention_heads": 12., "image_size": 224.,
			"patch_size": 16., "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
		{"vocab_size": 32000., "hidden_size": 768., "intermediate_size": 3072., "num_hidden_layers": 12.,
			"num_attention_heads": 12., "max_position_embeddings": 64., "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
	},
}

// readTransformers reads a config.json.
func (d *description) readTransformers(c map[string]any) {
	kind, _ := c["model_type"].(string)
	family, part, _ := strings.Cut(kind, "_")
	defaults, known := transformersDefaults[family]
	if !known || part != "" && part != "vision_model" && part != "text_model" {
		what := fmt.Sprintf("transformers' %s", kind)
		if kind == "metaclip_2" {
			what += " (a worldwide MetaCLIP, with a tokenizer of its own)"
		}
		d.unableImage, d.unableText = []string{what}, []string{what}
		return
	}
	v, t := any(c), any(c)
	if part == "" {
		v, t = c["vision_config"], c["text_config"]
		if m, ok := c["vision_config_dict"].(map[string]any); ok {
			v = section(m, section(v, nil))
		}
		if m, ok := c["text_config_dict"].(map[string]any); ok {
			t = section(m, section(t, nil))
		}
	}
	given := func(v any) bool { m, _ := v.(map[string]any); return len(m) > 0 } // of a stub nothing follows
	siglip := family == "siglip"
	act := func(v any) any {
		if v == "gelu_pytorch_tanh" {
			return "gelu_tanh"
		}
		return v
	}
	if part != "text_model" && given(v) {
		v := section(v, defaults[0])
		d.image = map[string]any{"image_size": v["image_size"], "patch_size": v["patch_size"], "width": v["hidden_size"], "layers": v["num_hidden_layers"],
			"heads": v["num_attention_heads"], "mlp_ratio": ratio(v["intermediate_size"], v["hidden_size"]), "act": act(v["hidden_act"]), "pool_type": "tok",
			"norm_eps": v["layer_norm_eps"]}
		for _, key := range []string{"no_class_token", "no_ln_pre", "no_proj", "patch_bias"} {
			d.image[key] = siglip
		}
		if siglip {
			d.image["pool_type"] = "map"
		}
	}
	if part != "vision_model" && given(t) {
		t := section(t, defaults[1])
		d.text = map[string]any{"context_length": t["max_position_embeddings"], "vocab_size": t["vocab_size"], "width": t["hidden_size"], "heads": t["num_attention_heads"],
			"layers": t["num_hidden_layers"], "mlp_ratio": ratio(t["intermediate_size"], t["hidden_size"]), "act": act(t["hidden_act"]), "causal": !siglip, "pool_type": "argmax",
			"norm_eps": t["layer_norm_eps"], "proj_bias": siglip}
		if siglip {
			d.text["pool_type"] = "last"
		}
		if t["vocab_size"] != float64(CLIPVocabulary) {
			d.tokenizer = fmt.Sprintf("of %v tokens", t["vocab_size"])
		}
	}
}
