package keymap

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"tandem/core/fault"
)

// A family describes a kind of model that tandem's encoders cannot express. A name that only it has gives it away.
type family struct {
	modality string // of the tower that is of this kind: image, text, or "" for both
	name     *regexp.Regexp
	what     string
	remedy   string // where tandem has such a tower; else expressible tells
}

// siglip says how a spec gets SigLIP's towers.
const siglip = "model: ViT-B-16-SigLIP, or another of `runner models`, sets both towers as such weights need them"

// families lists them in the order in which they are tried: those that say most come first.
var families = []family{
	{"", regexp.MustCompile(`lora_(A|B|down|up)\b`), "LoRA adapters, which change a model and are none: merge them into it first (peft: merge_and_unload) and save that", ""},
	{"", regexp.MustCompile(`\.(qweight|qzeros|absmax|weight_scale|quant_map|SCB)$`), "weights that were quantised: take those in float32, float16 or bfloat16", ""},
	{"image", regexp.MustCompile(`^visual\.trunk\.(stem\.0|stages\.\d+\.blocks\.\d+\.conv_dw|stages\.\d+\.downsample)\b.*`), "a ConvNeXt image tower (timm)", ""},
	{"image", regexp.MustCompile(`^visual\.trunk\..*(rope|q_proj|k_proj|inner_attn_ln|w12|fc1_g)`), "an EVA image tower (timm)", ""},
	{"image", regexp.MustCompile(`^visual\.trunk\..*(layers\.\d+\.blocks|relative_position_bias)`), "a Swin image tower (timm)", ""},
	{"image", regexp.MustCompile(`^visual\.trunk\.`), "an image tower of timm (visual.trunk)", ""},
	{"image", regexp.MustCompile(`^visual\.attn_pool\.(query|attn|ln_)`), "an image tower with OpenCLIP's attentional pool (CoCa)", ""},
	{"text", regexp.MustCompile(`^(text_decoder\.|cls_emb$)`), "CoCa's text tower, with a class token of its own and a decoder", ""},
	{"text", regexp.MustCompile(`^(transformer\.shared|transformer\.encoder\.block|encoder\.block)\.`), "a T5 text tower (transformers)", ""},
	{"text", regexp.MustCompile(`^(transformer\.|bert\.|roberta\.|text_model\.)?(roberta\.)?embeddings\.(word_embeddings|token_type_embeddings)\b`), "a BERT or RoBERTa text tower (transformers)", "encoder: bert is such a tower"},
	{"text", regexp.MustCompile(`^transformer\.(encoder\.layer|layers|h)\.\d`), "a text tower of transformers", ""},
	{"image", regexp.MustCompile(`^visual\.attn_pool\.latent$`), "SigLIP's image tower, which pools by attention and has no class token", siglip},
	{"text", regexp.MustCompile(`^text_projection\.bias$`), "SigLIP's text tower, which is not causal and has a projection with bias", siglip},
	{"", regexp.MustCompile(`(^|\.)(ls_?[12](\.gamma)?|lambda[12]|gamma_[12]|layer_?scale\w*\.lambda1|layer_?scale_?[12]?(\.gamma)?)$`), "blocks with LayerScale", ""},
	{"image", regexp.MustCompile(`(^|\.)(reg_token|register_tokens|registers)$`), "a ViT with register tokens", ""},
	{"", regexp.MustCompile(`attn\.(ln_q|ln_k|q_norm|k_norm|logit_scale|head_scale|ln_inner)\b|\.(ln_attn|mlp\.ln)\.`), "blocks with further norms or scales in the attention (QK norm, scaled cosine)", ""},
	{"text", regexp.MustCompile(`^positional_embedding_res$`), "Long-CLIP's text tower, with two tables of positions", ""},
	{"image", regexp.MustCompile(`^(blocks\.\d+\.attn\.qkv|cls_token$|pos_embed$|patch_embed\.)`), "a ViT of timm or DINO", ""},
	{"image", regexp.MustCompile(`^(vit|dinov2|embeddings|encoder\.layer)\.`), "a ViT of transformers (not CLIP's)", ""},
	{"image", regexp.MustCompile(`^(layer[1-4]\.\d+\.|fc\.weight|bn1\.)`), "a ResNet of torchvision", ""},
	{"", regexp.MustCompile(`^(visual_encoder|qformer|query_tokens|vision_proj|text_proj)\b`), "a BLIP or ALBEF model", ""},
	{"image", regexp.MustCompile(`^image_encoder\.model\.`), "MobileCLIP's image tower", ""},
	{"text", regexp.MustCompile(`^text_encoder\.`), "a text tower with names of its own (text_encoder)", ""},
	{"", regexp.MustCompile(`^(model\.)?layers\.\d+\.self_attn\.`), "a language model", ""},
}

// Unlike says which kind of model the tower of a modality is, when it is one that tandem's encoders cannot express; nil
// when no name tells. It is asked once a tower does not fit.
func (k *File) Unlike(modality string) *fault.Error {
	names := append(k.Names(), k.left...)
	for _, f := range families {
		if f.modality != "" && f.modality != modality {
			continue
		}
		for _, name := range names {
			if f.modality == "" && (strings.HasPrefix(name, "visual.") || strings.HasPrefix(name, "vision_model.")) != (modality == "image") && strings.Contains(f.what, "blocks") {
				continue // of the other tower
			}
			if f.name.MatchString(name) {
				return k.invalid("the weights have %s: tensor %q", f.what, k.fileName(name)).WithHint("%s", cmp.Or(f.remedy, expressible(modality)))
			}
		}
	}
	if modality == "image" && !k.has("visual.ln_pre.weight") && k.has("visual.ln_post.weight") && k.has("visual.conv1.weight") {
		return k.invalid("the weights have an image tower without ln_pre (CLIPA)").WithHint("%s", expressible(modality))
	}
	return nil
}

func expressible(modality string) string {
	if modality == "image" {
		return "tandem's image encoders are CLIP's ViT and ResNet and SigLIP's ViT; another one is a plugin of your own (docs/plugins.md), and init.towers: [text] takes the other tower alone"
	}
	return "tandem's text encoders are CLIP's and SigLIP's transformer and bert (BERT, MiniLM, RoBERTa); another one is a plugin of your own (docs/plugins.md), and init.towers: [image] takes the other tower alone"
}

func (k *File) has(name string) bool { _, ok := k.entries[name]; return ok }

// fileName returns the name that a tensor has in the file.
func (k *File) fileName(name string) string {
	if e, ok := k.entries[name]; ok {
		return e.files[0]
	}
	return name
}

// some writes a few of many names.
func some(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
