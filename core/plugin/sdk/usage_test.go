package sdk

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/plugin/wire"
)

var vit = Encoder{
	Name: "vit", Version: "1.0.0", Summary: "vision transformer", Modality: clip.Image, Config: defaults,
	Relations: []clip.Relation{{Rule: "multiple_of", Field: "width", Of: "seed"}},
}

func byHandOut(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = byHand(args, vit.Descriptor(), instance{}, &out, &err)
	return status, out.String(), err.String()
}

func TestByHandAPluginSaysWhatItIs(t *testing.T) {
	status, out, _ := byHandOut(t)
	if status != 0 {
		t.Errorf("exit status %d", status)
	}
	for _, want := range []string{
		"encoders/vit 1.0.0: vision transformer", "(image encoder, protocol 2)", "image: {encoder: vit, with: {…}}",
		"default 256, 1 to 4096", "default cls, one of mean cls", "required", "list of 2 float", "default [0.5,1]",
		"width must be a multiple of seed.", "runner plugin describe encoders/vit",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if status, _, err := byHandOut(t, "--descrbe"); status != 2 || !strings.Contains(err, "--describe") {
		t.Errorf("an unknown flag gives %d %q", status, err)
	}
	if _, out, _ := byHandOut(t, "--version"); out != "encoders/vit 1.0.0 (protocol 2)\n" {
		t.Errorf("version is %q", out)
	}
}

func TestDescriptorAndManifestAreJSON(t *testing.T) {
	_, out, _ := byHandOut(t, "--describe")
	var d clip.Descriptor
	if err := json.Unmarshal([]byte(out), &d); err != nil || d.Name != "vit" || len(d.Schema) != 11 || d.Kind != clip.KindEncoder {
		t.Errorf("descriptor %+v, %v", d, err)
	}
	_, out, _ = byHandOut(t, "--manifest")
	var m wire.Manifest
	if err := json.Unmarshal([]byte(out), &m); err != nil || len(m.SHA256) != 64 || m.Descriptor.Name != "vit" {
		t.Errorf("manifest %+v, %v", m, err)
	}
}

func TestSchemaPanicsOnAuthorMistakes(t *testing.T) {
	for name, config := range map[string]any{
		"no help": struct {
			A int `with:"a"`
		}{},
		"struct": struct {
			A struct{} `with:"a" help:"x"`
		}{},
		"bad min": struct {
			A int `with:"a" help:"x" min:"one"`
		}{},
		"not struct": 3,
		"unexported": struct {
			a int `with:"a" help:"x"`
		}{},
		"int map key": struct {
			A map[int]int `with:"a" help:"x"`
		}{},
		"same name": struct {
			A int `with:"a" help:"x"`
			B int `with:"a" help:"x"`
		}{},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			Schema(config)
		}()
	}
}
