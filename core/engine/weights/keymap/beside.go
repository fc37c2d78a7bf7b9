package keymap

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
)

// Wanted holds what a spec says of the towers that take weights: their settings; nil for a tower that takes none or is
// not one of tandem's own (vit, resnet-attnpool, transformer).
type Wanted struct{ Image, Text map[string]any }

// description holds what a file beside weights says of the model: settings of the towers under the names that a spec
// uses.
type description struct {
	file        string
	image, text map[string]any
	// unable lists properties that tandem's encoders do not have, by tower.
	unableImage, unableText []string
	tokenizer               string // of another library, by its name there
}

// CLIPVocabulary counts the tokens of CLIP's own tokenizer.
const CLIPVocabulary = 49408

// maxConfig bounds the size of a config.
const maxConfig = 8 << 20

// Beside compares what the spec says with what lies beside the weights and describes their model: config.json of
// transformers, open_clip_config.json, a config with the weights' own name, preprocessor_config.json. A difference
// that the tensors do not show (activation, heads, pooling, tokenizer) is a fault; one in what is resampled, or in how
// pictures are prepared, is a remark.
func Beside(path string, want Wanted) (remarks []string, err error) {
	var faults fault.List
	for _, d := range describe(path) {
		f, r := d.compare(want)
		faults, remarks = append(faults, f...), append(remarks, r...)
	}
	return remarks, faults.Err()
}

// describe reads the configs beside weights.
func describe(path string) (all []description) {
	dir := filepath.Dir(path)
	own := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) + ".json"
	for _, name := range []string{own, "open_clip_config.json", "config.json", "preprocessor_config.json"} {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err != nil {
			continue
		}
		var c map[string]any
		if data, err := files.Read(file, maxConfig); err != nil || json.Unmarshal(data, &c) != nil {
			continue // of something else
		}
		d := description{file: file, image: map[string]any{}, text: map[string]any{}}
		inner, _ := c["model_cfg"].(map[string]any)
		switch {
		case inner != nil:
			d.readOpenCLIP(inner)
			d.readPictures(c["preprocess_cfg"], "mean", "std", "interpolation")
		case c["vision_cfg"] != nil:
			d.readOpenCLIP(c)
		case c["model_type"] != nil:
			d.readTransformers(c)
		case c["image_mean"] != nil:
			d.readPictures(c, "image_mean", "image_std", "resample")
		default:
			continue
		}
		all = append(all, d)
	}
	return all
}

// section returns a part of a config, with defaults for what it leaves out.
func section(v any, defaults map[string]any) map[string]any {
	out := map[string]any{}
	for k, d := range defaults {
		out[k] = d
	}
	given, _ := v.(map[string]any)
	for k, v := range given {
		if v != nil {
			out[k] = v
		}
	}
	return out
}

func isTruthy(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case float64:
		return v != 0
	case string:
		return v != ""
	}
	return v != nil
}

// readOpenCLIP reads a model config of OpenCLIP.
func (d *description) readOpenCLIP(c map[string]any) {
	v := section(c["vision_cfg"], map[string]any{"layers": 12., "width": 768., "head_width": 64., "mlp_ratio": 4., "patch_size": 16., "image_size": 224., "pool_type": "tok"})
	t := section(c["text_cfg"], map[string]any{"context_length": 77., "vocab_size": float64(CLIPVocabulary), "width": 512., "heads": 8., "layers": 12., "mlp_ratio": 4., "pool_type": "argmax"})
	act := "gelu"
	if isTruthy(c["quick_gelu"]) {
		act = "quick_gelu"
	}
	d.image = map[string]any{"image_size": v["image_size"], "width": v["width"], "layers": v["layers"]}
	if width, ok := v["width"].(float64); ok {
		head, _ := v["head_width"].(float64)
		if _, resnet := v["layers"].([]any); resnet {
			width *= 32
		} else {
			d.image["patch_size"], d.image["mlp_ratio"], d.image["pool_type"], d.image["act"] = v["patch_size"], v["mlp_ratio"], v["pool_type"], act
		}
		d.image["heads"] = width / max(head, 1)
	}
	d.text = map[string]any{"context_length": t["context_length"], "vocab_size": t["vocab_size"], "width": t["width"], "heads": t["heads"],
		"layers": t["layers"], "mlp_ratio": t["mlp_ratio"], "act": act, "causal": !isTruthy(t["no_causal_mask"]), "pool_type": t["pool_type"]}
	if name, _ := v["timm_model_name"].(string); name != "" {
		d.unableImage = append(d.unableImage, "timm's image tower "+name)
	}
	for _, key := range []string{"ls_init_value", "attentional_pool", "no_ln_pre", "final_ln_after_pool", "qk_norm", "scaled_cosine_attn", "scale_heads",
		"scale_attn_inner", "scale_attn", "scale_fc", "act_kwargs"} {
		if isTruthy(v[key]) {
			d.unableImage = append(d.unableImage, fmt.Sprintf("%s: %v", key, v[key]))
		}
	}
	if name, _ := t["hf_model_name"].(string); name != "" {
		d.unableText = append(d.unableText, "transformers' text tower "+name)
	}
	if kind, _ := t["proj_type"].(string); kind != "" && kind != "linear" {
		d.unableText = append(d.unableText, "proj_type: "+kind)
	}
	for _, key := range []string{"ls_init_value", "embed_cls", "final_ln_after_pool", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner",
		"scale_attn", "scale_fc", "act_kwargs", "proj_bias"} {
		if isTruthy(t[key]) {
			d.unableText = append(d.unableText, fmt.Sprintf("%s: %v", key, t[key]))
		}
	}
	d.unableImage, d.unableText = append(d.unableImage, unusualEps(v["norm_kwargs"])...), append(d.unableText, unusualEps(t["norm_kwargs"])...)
	if c["multimodal_cfg"] != nil {
		d.unableText = append(d.unableText, "CoCa's decoder (multimodal_cfg)")
	}
	d.tokenizer, _ = t["hf_tokenizer_name"].(string)
	if t["vocab_size"] == float64(CLIPVocabulary) && (d.tokenizer == "" || strings.Contains(strings.ToLower(d.tokenizer), "clip")) {
		d.tokenizer = ""
	} else if d.tokenizer == "" && t["vocab_size"] != float64(CLIPVocabulary) {
		d.tokenizer = fmt.Sprintf("of %v tokens", t["vocab_size"])
	}
	if k, _ := t["tokenizer_kwargs"].(map[string]any); len(k) > 0 && d.tokenizer == "" {
		d.tokenizer = fmt.Sprintf("with the options %v", k)
	}
}

// unusualEps names a layer norm's epsilon that is not 1e-5.
func unusualEps(v any) []string {
	k, _ := v.(map[string]any)
	if e, ok := k["eps"].(float64); ok && e != 1e-5 {
		return []string{fmt.Sprintf("layer norms with eps %g", e)}
	}
	return nil
}

// readTransformers reads a config.json.
func (d *description) readTransformers(c map[string]any) {
	kind, _ := c["model_type"].(string)
	if kind != "clip" && kind != "clip_vision_model" && kind != "clip_text_model" {
		what := fmt.Sprintf("transformers' %s", kind)
		if kind == "metaclip_2" {
			what += " (a worldwide MetaCLIP, with a tokenizer of its own)"
		}
		d.unableImage, d.unableText = []string{what}, []string{what}
		return
	}
	v, t := any(c), any(c)
	if kind == "clip" {
		v, t = c["vision_config"], c["text_config"]
		if m, ok := c["vision_config_dict"].(map[string]any); ok {
			v = section(m, section(v, nil))
		}
		if m, ok := c["text_config_dict"].(map[string]any); ok {
			t = section(m, section(t, nil))
		}
	}
	given := func(v any) bool { m, _ := v.(map[string]any); return len(m) > 0 } // of a stub nothing follows
	if kind != "clip_text_model" && given(v) {
		v := section(v, map[string]any{"hidden_size": 768., "intermediate_size": 3072., "num_hidden_layers": 12., "num_attention_heads": 12., "image_size": 224.,
			"patch_size": 32., "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5})
		d.image = map[string]any{"image_size": v["image_size"], "patch_size": v["patch_size"], "width": v["hidden_size"], "layers": v["num_hidden_layers"],
			"heads": v["num_attention_heads"], "mlp_ratio": ratio(v["intermediate_size"], v["hidden_size"]), "act": v["hidden_act"], "pool_type": "tok"}
		d.unableImage = unusualEps(map[string]any{"eps": v["layer_norm_eps"]})
	}
	if kind != "clip_vision_model" && given(t) {
		t := section(t, map[string]any{"vocab_size": float64(CLIPVocabulary), "hidden_size": 512., "intermediate_size": 2048., "num_hidden_layers": 12.,
			"num_attention_heads": 8., "max_position_embeddings": 77., "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5})
		d.text = map[string]any{"context_length": t["max_position_embeddings"], "vocab_size": t["vocab_size"], "width": t["hidden_size"], "heads": t["num_attention_heads"],
			"layers": t["num_hidden_layers"], "mlp_ratio": ratio(t["intermediate_size"], t["hidden_size"]), "act": t["hidden_act"], "causal": true, "pool_type": "argmax"}
		d.unableText = unusualEps(map[string]any{"eps": t["layer_norm_eps"]})
		if t["vocab_size"] != float64(CLIPVocabulary) {
			d.tokenizer = fmt.Sprintf("of %v tokens", t["vocab_size"])
		}
	}
}

func ratio(a, b any) any {
	x, _ := a.(float64)
	y, _ := b.(float64)
	if y == 0 {
		return nil
	}
	return x / y
}

// readPictures reads how pictures are prepared.
func (d *description) readPictures(v any, mean, std, interpolation string) {
	c, _ := v.(map[string]any)
	for key, value := range map[string]any{"mean": c[mean], "std": c[std], "interpolation": c[interpolation], "resize_mode": c["resize_mode"]} {
		if value != nil {
			d.image[key] = value
		}
	}
}

// remarked lists settings that may differ from the model's, with a remark: positions are resampled, and statistics and
// filters depend on the pictures.
var remarked = []string{"image_size", "context_length", "mean", "std"}

// compare finds where the spec differs from the description.
func (d *description) compare(want Wanted) (faults fault.List, remarks []string) {
	name := filepath.Base(d.file)
	for _, tower := range []struct {
		role         string
		theirs, ours map[string]any
		unable       []string
	}{{"image", d.image, want.Image, d.unableImage}, {"text", d.text, want.Text, d.unableText}} {
		if tower.ours == nil {
			continue
		}
		if len(tower.unable) > 0 {
			faults = append(faults, fault.New(fault.Invalid, "the weights are of a model that tandem's %s encoders cannot express: %s", tower.role, strings.Join(tower.unable, ", ")).
				WithFile(d.file, 0, 0).WithHint("%s", expressible(tower.role)))
			continue
		}
		for _, key := range []string{"image_size", "patch_size", "width", "layers", "heads", "mlp_ratio", "act", "pool_type", "mean", "std", "context_length", "vocab_size", "causal"} {
			theirs, ours := tower.theirs[key], value(tower.ours, key)
			if theirs == nil || ours == nil || sameValue(key, theirs, ours) {
				continue
			}
			path := tower.role + ".with." + key
			if slices.Contains(remarked, key) {
				remarks = append(remarks, fmt.Sprintf("%s: the weights' model has %s %s, %s is %s%s", name, key, formatValue(theirs), path, formatValue(ours),
					map[string]string{"image_size": "; positions are resampled", "context_length": "; positions are resampled"}[key]))
				continue
			}
			faults = append(faults, fault.New(fault.Invalid, "is %s, but the weights' model has %s", formatValue(ours), formatValue(theirs)).WithPath(path).WithFile(d.file, 0, 0).
				WithHint("set %s: %s (or --set %s=%s); if %s describes another model, move the weights away from it", key, formatValue(theirs), path, formatValue(theirs), name))
		}
		if tower.role == "text" && d.tokenizer != "" && tower.ours["tokenizer"] == "clip" {
			faults = append(faults, fault.New(fault.Invalid, "is clip, but the weights' model has another tokenizer, %s", d.tokenizer).WithPath("text.with.tokenizer").
				WithFile(d.file, 0, 0).WithHint("token ids would mean other words; init.towers: [image] takes the image tower alone"))
		}
	}
	if want.Image != nil {
		for key, usual := range map[string][]string{"interpolation": {"bicubic", "3"}, "resize_mode": {"shortest"}} {
			if v := d.image[key]; v != nil && !slices.Contains(usual, formatValue(v)) {
				remarks = append(remarks, fmt.Sprintf("%s: the weights' model wants pictures with %s %s; here it is %s", name, key, formatValue(v), usual[0]))
			}
		}
	}
	return faults, remarks
}

// value returns a setting of the spec; heads may follow from another.
func value(with map[string]any, key string) any {
	if key != "heads" {
		return with[key]
	}
	heads, _ := with["heads"].(float64)
	width, _ := with["width"].(float64)
	if heads > 0 {
		return heads
	}
	if _, resnet := with["layers"].([]any); resnet {
		return 32 * width / 64
	}
	if head, _ := with["head_width"].(float64); head > 0 {
		return width / head
	}
	return nil
}

// sameValue compares values of JSON. Poolings that mean the same token are equal, and a picture's size may be given twice.
func sameValue(key string, a, b any) bool {
	if list, ok := a.([]any); ok && key == "image_size" && len(list) == 2 && list[0] == list[1] {
		a = list[0]
	}
	if key == "pool_type" {
		eos := []any{"argmax", "eos"}
		if slices.Contains(eos, a) && slices.Contains(eos, b) {
			return true
		}
	}
	switch x := a.(type) {
	case float64:
		y, ok := b.(float64)
		return ok && math.Abs(x-y) <= 1e-6*math.Abs(x)
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !sameValue("", x[i], y[i]) {
				return false
			}
		}
		return true
	}
	return a == b
}

func formatValue(v any) string {
	text, _ := json.Marshal(v)
	return strings.Trim(string(text), `"`)
}

// Resampled tells of positions that the towers have in another number.
func (k *File) Resampled(want Wanted) (remarks []string) {
	number := func(with map[string]any, key string) int {
		v, _ := with[key].(float64)
		return int(v)
	}
	note := func(name string, wanted int) {
		if shape, ok := k.Shape(name); ok && len(shape) == 2 && wanted > 0 && shape[0] != wanted {
			remarks = append(remarks, fmt.Sprintf("%s: %d positions are resampled to %d", name, shape[0], wanted))
		}
	}
	if side, patch := number(want.Image, "image_size"), number(want.Image, "patch_size"); patch > 0 {
		note("visual.positional_embedding", side/patch*(side/patch)+1)
	}
	note("positional_embedding", number(want.Text, "context_length"))
	return remarks
}
