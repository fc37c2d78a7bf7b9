package keymap

import (
	"encoding/json"
	"math"

	"tandem/core/fault"
)

// Model holds what the configs of other libraries are made of. Image and Text are the JSON of the networks' configs,
// whose keys are OpenCLIP's where it has them.
type Model struct {
	EmbedDim    int
	Image, Text json.RawMessage
	Tokenizer   []byte // as core/media/token saves it; may be empty
	LogitBias   bool
}

// image holds the settings of vit and resnet-attnpool that other libraries know.
type image struct {
	ImageSize  int             `json:"image_size"`
	PatchSize  int             `json:"patch_size"`
	Width      int             `json:"width"`
	Layers     json.RawMessage `json:"layers"` // a number; of a ResNet, four
	Heads      int             `json:"heads"`
	HeadWidth  int             `json:"head_width"`
	MLPRatio   float64         `json:"mlp_ratio"`
	Act        string          `json:"act"`
	PoolType   string          `json:"pool_type"`
	Stem       string          `json:"stem"`
	Downsample string          `json:"downsample"`
	Pool       string          `json:"pool"`

	NoClassToken bool    `json:"no_class_token"`
	NoLnPre      bool    `json:"no_ln_pre"`
	NoProj       bool    `json:"no_proj"`
	PatchBias    bool    `json:"patch_bias"`
	Registers    int     `json:"registers"`
	NormEps      float64 `json:"norm_eps"` // 0: 1e-5
}

// text holds those of transformer.
type text struct {
	ContextLength int     `json:"context_length"`
	VocabSize     int     `json:"vocab_size"`
	Width         int     `json:"width"`
	Heads         int     `json:"heads"`
	Layers        int     `json:"layers"`
	MLPRatio      float64 `json:"mlp_ratio"`
	Act           string  `json:"act"`
	Causal        bool    `json:"causal"`
	PoolType      string  `json:"pool_type"`
	ProjBias      bool    `json:"proj_bias"`
	NormEps       float64 `json:"norm_eps"` // 0: 1e-5
}

func cannotExpress(who, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, who+" has no "+format, args...)
}

// parse reads the configs. Networks that are neither of these are fault.Invalid.
func (m Model) parse(who string) (v image, t text, err error) {
	if m.HasBERT() {
		return v, t, cannotExpress(who, "place for this text encoder, of BERT's family").
			WithHint("--format hf writes it alone, as transformers' BertModel or RobertaModel")
	}
	if json.Unmarshal(m.Image, &v) != nil || v.ImageSize == 0 || v.Width == 0 || len(v.Layers) == 0 {
		return v, t, cannotExpress(who, "image encoder with the settings %s", m.Image)
	}
	if json.Unmarshal(m.Text, &t) != nil || t.ContextLength == 0 || t.Width == 0 || t.Heads == 0 {
		return v, t, cannotExpress(who, "text encoder with the settings %s", m.Text)
	}
	return v, t, nil
}

// resnet says that an image network is a ResNet.
func (v image) resnet() bool { return v.Layers[0] == '[' }

// OpenCLIP returns the JSON model config that open_clip.create_model takes, once it is in its folder of configs or
// named to add_model_config.
func (m Model) OpenCLIP() ([]byte, error) {
	const who = "OpenCLIP"
	v, t, err := m.parse(who)
	if err != nil {
		return nil, err
	}
	vision, err := v.openCLIP()
	if err != nil {
		return nil, err
	}
	quick := t.Act == "quick_gelu"
	if !v.resnet() && (v.Act == "quick_gelu") != quick {
		return nil, cannotExpress(who, "model with %s in one tower and %s in the other", v.Act, t.Act)
	}
	words := map[string]any{"context_length": t.ContextLength, "vocab_size": t.VocabSize, "width": t.Width, "heads": t.Heads,
		"layers": t.Layers, "mlp_ratio": t.MLPRatio}
	addNorms(words, t.NormEps, t.Act)
	if t.ProjBias {
		words["proj_bias"] = true
	}
	if !t.Causal {
		words["no_causal_mask"] = true
	}
	switch t.PoolType {
	case "argmax":
	case "first", "last":
		words["pool_type"] = t.PoolType
	case "eos": // the same token: the end of text has the largest id
	default:
		return nil, cannotExpress(who, "pooling %s of texts", t.PoolType)
	}
	config := map[string]any{"embed_dim": m.EmbedDim, "vision_cfg": vision, "text_cfg": words}
	if quick {
		config["quick_gelu"] = true
	}
	if v.PoolType == "map" {
		config["custom_text"] = true
	}
	if m.LogitBias {
		config["init_logit_bias"] = 0
	}
	return marshalIndented(config)
}

// openCLIP returns the vision_cfg of OpenCLIP's config.
func (v image) openCLIP() (map[string]any, error) {
	const who = "OpenCLIP"
	switch {
	case v.resnet():
		if v.Stem != "clip" || v.Downsample != "avgpool" || v.Pool != "attention" {
			return nil, cannotExpress(who, "ResNet with stem %s, downsample %s and pool %s", v.Stem, v.Downsample, v.Pool)
		}
		heads := 64
		if v.Heads > 0 {
			heads = 32 * v.Width / v.Heads
		}
		return map[string]any{"image_size": v.ImageSize, "layers": v.Layers, "width": v.Width, "patch_size": nil, "head_width": heads}, nil
	case v.PoolType == "map":
		name := v.trunk()
		if name == "" {
			return nil, cannotExpress(who, "ViT with pooling map of this shape").
				WithHint("it has SigLIP's as timm names them, %s and the like: with no_class_token, no_ln_pre, no_proj, patch_bias and norm_eps 1e-6", exactTrunks[0])
		}
		return map[string]any{"image_size": v.ImageSize, "timm_model_name": name, "timm_model_pretrained": false, "timm_pool": "map", "timm_proj": "none"}, nil
	case v.NoClassToken || v.NoProj || v.PatchBias || v.Registers > 0:
		return nil, cannotExpress(who, "ViT with no_class_token, no_proj, patch_bias or registers").WithHint("as SigLIP's with pool_type: map it has the first three")
	}
	vision := map[string]any{"image_size": v.ImageSize, "layers": v.Layers, "width": v.Width, "patch_size": v.PatchSize, "mlp_ratio": v.MLPRatio,
		"pool_type": v.PoolType, "head_width": v.Width / v.heads()}
	addNorms(vision, v.NormEps, v.Act)
	if v.NoLnPre {
		vision["no_ln_pre"] = true
	}
	return vision, nil
}

// addNorms adds the options of layer norms and activations to a config of OpenCLIP, where they are not its defaults.
func addNorms(config map[string]any, eps float64, act string) {
	if eps != 0 && eps != 1e-5 {
		config["norm_kwargs"] = map[string]any{"eps": eps}
	}
	if act == "gelu_tanh" {
		config["act_kwargs"] = map[string]any{"approximate": "tanh"}
	}
}

func (v image) heads() int {
	if v.Heads > 0 {
		return v.Heads
	}
	return v.Width / max(v.HeadWidth, 1)
}

// HF returns the config.json of transformers' CLIPModel.
func (m Model) HF() ([]byte, error) {
	const who = "transformers' CLIPModel"
	v, t, err := m.parse(who)
	switch {
	case err != nil:
		return nil, err
	case v.resnet():
		return nil, cannotExpress(who, "ResNet").WithHint("--format open_clip")
	case v.NoClassToken || v.NoLnPre || v.NoProj || v.PatchBias || v.Registers > 0 || t.ProjBias || v.NormEps+t.NormEps != 0 || v.Act == "gelu_tanh" || t.Act == "gelu_tanh":
		return nil, cannotExpress(who, "towers of SigLIP, registers or a norm_eps of its own").WithHint("--format open_clip")
	case v.PoolType != "tok":
		return nil, cannotExpress(who, "pooling %s of pictures", v.PoolType).WithHint("--format open_clip")
	case !t.Causal || t.PoolType != "argmax" && t.PoolType != "eos":
		return nil, cannotExpress(who, "text encoder with causal %v and pooling %s", t.Causal, t.PoolType).WithHint("--format open_clip")
	case m.LogitBias:
		return nil, cannotExpress(who, "logit_bias").WithHint("--format open_clip")
	}
	var layers int
	if err := json.Unmarshal(v.Layers, &layers); err != nil {
		return nil, cannotExpress(who, "%s layers", v.Layers)
	}
	end := t.VocabSize - 1 // of core/media/token, whose vocabularies end with start and end of text
	var saved struct {
		VocabSize int  `json:"vocab_size"`
		SOT       *int `json:"sot"` // of a tokenizer.json, whose ends may be anywhere
		EOT       *int `json:"eot"`
		Pad       int  `json:"pad"`
	}
	if json.Unmarshal(m.Tokenizer, &saved) == nil && saved.VocabSize > 1 {
		end = saved.VocabSize - 1
	}
	start := end - 1
	if saved.EOT != nil {
		end, start = *saved.EOT, *saved.EOT
	}
	if saved.SOT != nil {
		start = *saved.SOT
	}
	return marshalIndented(map[string]any{
		"architectures": []string{"CLIPModel"}, "model_type": "clip", "projection_dim": m.EmbedDim,
		"logit_scale_init_value": math.Round(math.Log(1/.07)*1e4) / 1e4, "torch_dtype": "float32",
		"vision_config": map[string]any{"model_type": "clip_vision_model", "hidden_size": v.Width, "intermediate_size": int(float64(v.Width) * v.MLPRatio),
			"num_hidden_layers": layers, "num_attention_heads": v.heads(), "image_size": v.ImageSize, "patch_size": v.PatchSize,
			"hidden_act": v.Act, "projection_dim": m.EmbedDim, "layer_norm_eps": 1e-5},
		"text_config": map[string]any{"model_type": "clip_text_model", "hidden_size": t.Width, "intermediate_size": int(float64(t.Width) * t.MLPRatio),
			"num_hidden_layers": t.Layers, "num_attention_heads": t.Heads, "max_position_embeddings": t.ContextLength,
			"vocab_size": t.VocabSize, "hidden_act": t.Act, "projection_dim": m.EmbedDim, "layer_norm_eps": 1e-5,
			"bos_token_id": start, "eos_token_id": end, "pad_token_id": saved.Pad},
	})
}

func marshalIndented(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fault.New(fault.Internal, "config: %w", err)
	}
	return append(data, '\n'), nil
}
