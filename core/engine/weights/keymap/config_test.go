package keymap

import (
	"encoding/json"
	"strings"
	"testing"

	"tandem/core/fault"
)

const (
	vitB32 = `{"image_size": 224, "patch_size": 32, "width": 768, "layers": 12, "heads": 0, "head_width": 64, "mlp_ratio": 4, "act": "quick_gelu", "pool_type": "tok"}`
	rn50   = `{"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "heads": 0, "stem": "clip", "downsample": "avgpool", "pool": "attention"}`
	base   = `{"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12, "mlp_ratio": 4, "act": "quick_gelu", "causal": true, "pool_type": "argmax"}`
)

// OpenCLIP's own ViT-B-32-quickgelu.json and RN50-quickgelu.json, keys that are its defaults aside.
func TestOpenCLIPConfigs(t *testing.T) {
	for image, want := range map[string]string{
		vitB32: `{"embed_dim":512,"quick_gelu":true,
			"text_cfg":{"context_length":77,"heads":8,"layers":12,"mlp_ratio":4,"vocab_size":49408,"width":512},
			"vision_cfg":{"head_width":64,"image_size":224,"layers":12,"mlp_ratio":4,"patch_size":32,"pool_type":"tok","width":768}}`,
		rn50: `{"embed_dim":512,"quick_gelu":true,
			"text_cfg":{"context_length":77,"heads":8,"layers":12,"mlp_ratio":4,"vocab_size":49408,"width":512},
			"vision_cfg":{"head_width":64,"image_size":224,"layers":[3,4,6,3],"patch_size":null,"width":64}}`,
	} {
		got, err := Model{EmbedDim: 512, Image: json.RawMessage(image), Text: json.RawMessage(base)}.OpenCLIP()
		if err != nil {
			t.Error(err)
			continue
		}
		var a, b map[string]any
		if json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
			t.Fatal(string(got))
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if string(x) != string(y) {
			t.Errorf("got %s\nwant %s", x, y)
		}
	}
}

// The sizes and token ids of openai/clip-vit-base-patch32.
func TestTransformersConfig(t *testing.T) {
	m := Model{EmbedDim: 512, Image: json.RawMessage(vitB32), Text: json.RawMessage(base)}
	got, err := m.HF()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"num_attention_heads": 12`, `"num_attention_heads": 8`, `"intermediate_size": 3072`, `"intermediate_size": 2048`,
		`"eos_token_id": 49407`, `"bos_token_id": 49406`, `"projection_dim": 512`, `"hidden_act": "quick_gelu"`, `"max_position_embeddings": 77`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	m.Tokenizer = []byte(`{"vocab_size": 600}`)
	if got, err := m.HF(); err != nil || !strings.Contains(string(got), `"eos_token_id": 599`) {
		t.Errorf("the end of text of a tokenizer of 600: %s %v", got, err)
	}
}

func TestModelsThatOthersLackAreRefused(t *testing.T) {
	with := func(config, old, now string) json.RawMessage {
		return json.RawMessage(strings.Replace(config, old, now, 1))
	}
	vit, text := json.RawMessage(vitB32), json.RawMessage(base)
	for want, m := range map[string]Model{
		"stem plain":       {Image: with(rn50, `"stem": "clip"`, `"stem": "plain"`), Text: text},
		"gelu in one":      {Image: with(vitB32, "quick_gelu", "gelu"), Text: text},
		"pooling mean":     {Image: vit, Text: with(base, "argmax", "mean")},
		"text encoder wit": {Image: vit, Text: json.RawMessage(`{}`)},
	} {
		if _, err := m.OpenCLIP(); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenCLIP: %v, want %q", err, want)
		}
	}
	for want, m := range map[string]Model{
		"ResNet":       {Image: json.RawMessage(rn50), Text: text},
		"pooling avg":  {Image: with(vitB32, `"tok"`, `"avg"`), Text: text},
		"causal false": {Image: vit, Text: with(base, `"causal": true`, `"causal": false`)},
		"logit_bias":   {Image: vit, Text: text, LogitBias: true},
	} {
		if _, err := m.HF(); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("transformers: %v, want %q", err, want)
		}
	}
}
