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
		if tower, ok := ofTrunk(name); ok && v["timm_pool"] == "map" && v["timm_proj"] == "none" {
			d.image = map[string]any{}
			data, _ := json.Marshal(tower)
			_ = json.Unmarshal(data, &d.image)
			delete(d.image, "head_width")
			d.image["image_size"] = v["image_size"]
			v = map[string]any{}
		} else {
			d.unableImage = append(d.unableImage, "timm's image tower "+name)
		}
	}
	for _, key := range []string{"ls_init_value", "attentional_pool", "final_ln_after_pool", "qk_norm", "scaled_cosine_attn", "scale_heads",
		"scale_attn_inner", "scale_attn", "scale_fc"} {
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
		"scale_attn", "scale_fc"} {
		if isTruthy(t[key]) {
			d.unableText = append(d.unableText, fmt.Sprintf("%s: %v", key, t[key]))
		}
	}
	for _, tower := range []struct{ config, settings map[string]any }{{v, d.image}, {t, d.text}} {
		if k, _ := tower.config["act_kwargs"].(map[string]any); k["approximate"] == "tanh" {
			tower.settings["act"] = "gelu_tanh"
		}
		if k, _ := tower.config["norm_kwargs"].(map[string]any); k["eps"] != nil {
			tower.settings["norm_eps"] = k["eps"]
		} else if tower.settings["norm_eps"] == nil {
			tower.settings["norm_eps"] = 1e-5
		}
	}
	if v["no_ln_pre"] != nil {
		d.image["no_ln_pre"] = isTruthy(v["no_ln_pre"])
	}
	d.text["proj_bias"] = isTruthy(t["proj_bias"])
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
		for _, key := range []string{"image_size", "patch_size", "width", "layers", "heads", "mlp_ratio", "act", "pool_type", "mean", "std", "context_length", "vocab_size", "causal",
			"no_class_token", "no_ln_pre", "no_proj", "patch_bias", "proj_bias", "norm_eps"} {
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

// value returns a setting of the spec; heads may follow from another, and some may be left out.
func value(with map[string]any, key string) any {
	switch v := with[key]; key {
	case "heads":
	case "norm_eps":
		if v == nil || v == 0. {
			return 1e-5
		}
		return v
	case "no_class_token", "no_ln_pre", "no_proj", "patch_bias", "proj_bias":
		return isTruthy(v)
	default:
		return v
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
		tol := 1e-6
		if key == "mlp_ratio" { // hidden widths are whole numbers: 4304 / 1152 is SO400M's 3.7362
			tol = 1e-4
		}
		return ok && math.Abs(x-y) <= tol*math.Abs(x)
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
		class := 1
		if want.Image["no_class_token"] == true {
			class = 0
		}
		note("visual.positional_embedding", side/patch*(side/patch)+class)
	}
	note("positional_embedding", number(want.Text, "context_length"))
	return remarks
}
