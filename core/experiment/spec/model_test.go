package spec

import (
	"encoding/json"
	"strings"
	"testing"

	"tandem/core/fault"
)

// parseModel loads a spec that begins with these lines; no plugin is looked at.
func parseModel(head string, set ...string) (*Spec, error) {
	const tail = "\ndata:\n  train: {dataset: csv}\ntrain: {max_steps: 1}\n"
	return Parse("m.yaml", []byte(head+tail), Options{Set: set})
}

// A published model fills in what the spec leaves out, and nothing else; every value says where it is from.
func TestModelsFillInWhatASpecLeavesOut(t *testing.T) {
	s, err := parseModel("model: ViT-B-16-SigLIP\nimage: {with: {patch_dropout: 0.5}}\ntext: {with: {tokenizer: byte}}", "image.with.image_size=256")
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	var image, text map[string]any
	if json.Unmarshal(s.Image.With, &image) != nil || json.Unmarshal(s.Text.With, &text) != nil {
		t.Fatal("no JSON")
	}
	if s.Image.Encoder != "vit" || s.Text.Encoder != "transformer" || s.Losses[0].Plugin != "siglip" || s.EmbedDim != 768 || s.Model != "ViT-B-16-SigLIP" {
		t.Errorf("%s, %s, %s, %d, %q", s.Image.Encoder, s.Text.Encoder, s.Losses[0].Plugin, s.EmbedDim, s.Model)
	}
	if image["image_size"] != 256. || image["pool_type"] != "map" || image["patch_dropout"] != .5 || text["tokenizer"] != "byte" || text["causal"] != false {
		t.Errorf("image %v, text %v", image, text)
	}
	for at, want := range map[string]string{"image.with.pool_type": "model ViT-B-16-SigLIP", "image.with.image_size": "--set image.with.image_size=256", "text.with.tokenizer": "m.yaml:3:26"} {
		if got := s.Locate(at).String(); got != want {
			t.Errorf("%s is from %s, want %s", at, got, want)
		}
	}
}

// A section with another plugin, and one with a list, keep to themselves.
func TestModelsLeaveOtherPluginsAlone(t *testing.T) {
	s, err := parseModel("model: ViT-B-32\ntext: {encoder: hf-text, with: {model: x}}\nloss: {plugin: siglip}\nembed_dim: 64")
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	if string(s.Text.With) != `{"model":"x"}` || s.Losses[0].Plugin != "siglip" || s.EmbedDim != 64 || !strings.Contains(string(s.Image.With), `"patch_size":32`) {
		t.Errorf("%+v", s)
	}
}

// The resolved spec loads to itself, and a run is the same whether its settings come from a model or are written out.
func TestAModelIsWhatItStandsFor(t *testing.T) {
	s, err := parseModel("model: RN50")
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	again, err := Parse("m.yaml", []byte(strings.Replace(s.YAML(false), "model: RN50\n", "", 1)), Options{})
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	if again.Identity(nil) != s.Identity(nil) {
		t.Errorf("%s\n%s", s.JSON(), again.JSON())
	}
}

func TestUnknownModelsAreRefused(t *testing.T) {
	_, err := parseModel("model: ViT-B-31")
	if text := fault.Format(err); !strings.Contains(text, `m.yaml:1:8`) || !strings.Contains(text, `no published model "ViT-B-31"`) || !strings.Contains(text, "did you mean ViT-B-32?") {
		t.Error(text)
	}
	_, err = parseModel("seed: 1", "model=3")
	if text := fault.Format(err); !strings.Contains(text, `no published model "3"`) {
		t.Error(text)
	}
}
