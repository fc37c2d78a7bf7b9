package spec

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"tandem/core/clip"
	"tandem/core/experiment/spec/spectest"
	"tandem/core/fault"
)

// beyondSchema lists the archives whose fault lies beyond what a JSON Schema can say, by the reason.
var beyondSchema = map[string][]string{
	"files are not opened":       {"bad-absent-base", "bad-circular", "bad-absent-root"},
	"editors find it themselves": {"bad-duplicate", "bad-duplicate-level"},
	"one key decides about another": {
		"bad-embed-dim", "bad-groups-plugin", "bad-groups-frozen", "bad-lora-plugin", "bad-large-batch", "bad-patch", "bad-tf32", "bad-log-range", "bad-looks-end", "bad-noise-floor-baseline",
		"bad-noise-floor-seed", "bad-range-bound-of-plugin", "bad-range-bounds", "bad-range-in-grid", "bad-stop-eta", "bad-stop-too-late",
		"bad-metric", "bad-metric-of-a-level", "bad-stop-metric", "bad-stop-metric-of-a-level",
		"bad-mixture-few", "bad-mixture-shares", "bad-losses-inputs", "bad-losses-one-weight", "bad-inputs-data", "bad-inputs-setting", "bad-inputs-tokens", "bad-inputs-unknown", "bad-teacher-empty", "bad-teacher-missing", "bad-teacher-unused", "bad-augment-dataset", "bad-augment-order",
	},
	"names of levels are the file's own": {"bad-exclude-baseline", "bad-include", "bad-list-twice", "bad-part-baseline", "bad-loss-name", "bad-source-name", "bad-unknown-level", "bad-when-baseline", "bad-when-cycle", "bad-when-key"},
	"only the cells show it":             {"bad-many-trials", "bad-million", "bad-same-key", "bad-same-place", "bad-search-point", "bad-with-base"},
	"what is in a text or a list":        {"bad-template", "bad-report-secret", "bad-no-seeds", "bad-seeds"},
}

// The schema and the checker agree about the specs of testdata: what the checker takes, the schema takes, and what it
// refuses, the schema refuses, unless one of two keys decides about the other.
func TestTheSchemaAgreesWithTheChecker(t *testing.T) {
	schema, faults := JSONSchema(spectest.Plugins(t))
	if len(faults) > 0 {
		t.Error(faults.Err())
	}
	valid := spectest.Validator(t, schema)
	beyond := map[string]bool{}
	for _, names := range beyondSchema {
		for _, name := range names {
			beyond[name] = true
		}
	}
	files, err := filepath.Glob("testdata/*.txtar")
	sweeps, err2 := filepath.Glob("../sweep/testdata/*.txtar")
	if files = append(files, sweeps...); err != nil || err2 != nil || len(files) < 40 {
		t.Fatalf("%d archives (%v, %v)", len(files), err, err2)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == "in.yaml" })
		if i < 0 {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		err = valid(archive.Files[i].Data)
		switch {
		case !strings.HasPrefix(name, "bad-") && err != nil:
			t.Errorf("%s is a good spec: %v", name, err)
		case beyond[name] && err != nil:
			t.Errorf("%s is listed as beyond a schema, but there is: %v", name, err)
		case strings.HasPrefix(name, "bad-") && !beyond[name] && err == nil:
			t.Errorf("%s: the schema finds nothing wrong", name)
		}
	}
}

// Every key's values have a schema, and each type's schema takes and refuses the values that the checker does.
func TestTheSchemaOfATypeAgreesWithTheChecker(t *testing.T) {
	types := map[clip.FieldType]Key{}
	var walk func(keys []Key)
	walk = func(keys []Key) {
		for _, k := range keys {
			if _, special := forms[k.Type]; special {
				types[k.Type] = k
			} else if !slices.Contains([]clip.FieldType{clip.TypeInt, clip.TypeFloat, clip.TypeBool, clip.TypeString, clip.TypePath, clip.TypeSource, clip.TypeList,
				clip.TypeMap, typeSection, typeSections, typeMixture, typeWith, typePlugin, typeAblate}, k.Type) {
				t.Errorf("%s has type %q, which has no entry in forms (jsonschema_forms.go)", k.Name, k.Type)
			}
			walk(k.Sub)
		}
	}
	walk(Keys)
	for _, k := range blockKeys {
		walk([]Key{k.Key})
	}
	for form := range forms {
		if _, used := types[form]; !used && form != "" {
			t.Errorf("no key has type %q", form)
		}
	}
	for _, c := range []struct {
		of     clip.FieldType
		values []string
	}{
		{typeInterval, []string{`200`, `0`, `"200"`, `200 steps`, `1 epoch`, `0.5 epochs`, `"  3   epochs"`, `-1`, `1.5`, `x`, `1 week`, `""`, `[1]`, `true`, `1e-1 epochs`}},
		{typeTimeout, []string{`90`, `0`, `"90"`, `90 s`, `10 min`, `1 h`, `1.5 h`, `90s`, `2 hours`, `3 seconds`, `-1`, `1 week`, `""`, `[]`, `true`}},
		{typeMemory, []string{`20 GiB`, `500MB`, `50%`, `1 kb`, `20`, `GiB`, `-1 GB`, `[]`, `7 parsecs`, `true`}},
		{typeDevice, []string{`auto`, `cpu`, `host`, `cuda`, `"cuda:0"`, `"cuda:12"`, `gpu`, `"cuda:1234"`, `cuda1`, `0`}},
		{typeFreeze, []string{`none`, `all`, `{blocks: 6}`, `{blocks: -1}`, `{params: [a]}`, `{blocks: 2, params: []}`, `{}`, `some`, `{block: 2}`, `{blocks: x}`, `{blocks: 20000}`, `3`, `[]`}},
		{typeAugment, []string{`none`, `random_resized_crop`, `{random_resized_crop: {}}`, `{random_resized_crop: {scale: [0.5, 1]}}`, `{random_resized_crop: {scale: [0.5]}}`, `{random_resized_crop: {scales: [0.5, 1]}}`, `{random_resized_crop: {hflip: 2}}`, `{crop: {}}`, `flip`, `3`,
			`{random_resized_crop: none}`, `{random_resized_crop: some}`, `{color_jitter: {brightness: 0.4, hue: 0.5}}`, `{color_jitter: {hue: 0.6}}`, `{color_jitter: 0.4}`, `{grayscale: 0.2}`, `{grayscale: {}}`,
			`{blur: {}}`, `{blur: {sigma: [0.1, 2]}}`, `{blur: {sigma: 1}}`, `{blur: {sigma: [0, 1]}}`, `{randaugment: {ops: 2, magnitude: 30}}`, `{randaugment: {magnitude: 31}}`, `{randaugment: {bins: 31}}`, `{hflip: 0.5}`}},
		{typeLines, []string{`[]`, `[a, b]`, `[1]`, `{}`, `{file: in.yaml}`, `{files: x}`, `a`}},
	} {
		k := types[c.of]
		schema, err := json.Marshal(object{"properties": object{"v": forms[c.of]}})
		if err != nil {
			t.Fatal(err)
		}
		valid := spectest.Validator(t, schema)
		for _, value := range c.values {
			r := &reader{text: map[string][]byte{"in.yaml": []byte("v: " + value)}}
			r.readFile("in.yaml", nil, Origin{})
			x := &checker{origins: r.layers[0].origins}
			x.value(k, r.layers[0].tree["v"], path{"v"})
			x.faults = slices.DeleteFunc(x.faults, func(e *fault.Error) bool { return strings.Contains(e.Error(), "in.yaml does not exist") })
			err := valid([]byte("v: " + value))
			if (err == nil) != (len(x.faults) == 0) {
				t.Errorf("%s %s: the checker says %v, the schema %v", c.of, value, x.faults.Err(), err)
			}
		}
	}
}

// half describes some of its plugins only, as a catalog does where what they need is not installed.
type half struct{ spectest.Catalog }

func (c half) Describe(kind clip.Kind, name string) (clip.Descriptor, error) {
	if name == "vit" {
		return clip.Descriptor{}, fault.New(fault.Unavailable, "no torch here").WithHint("make python")
	}
	return c.Catalog.Describe(kind, name)
}

func TestAPluginThatCannotBeDescribedIsTakenWithAnySettings(t *testing.T) {
	schema, faults := JSONSchema(half{spectest.Plugins(t)})
	if len(faults) != 1 || !strings.Contains(fault.Format(faults.Err()), "encoders/vit") || faults[0].Hint != "make python" {
		t.Errorf("%v", faults)
	}
	valid := spectest.Validator(t, schema)
	for _, name := range []string{"vit", "encoders/vit"} {
		if err := valid([]byte("extends: [x]\nimage: {encoder: " + name + ", with: {own: 1}}")); err != nil {
			t.Error(err)
		}
	}
	if valid([]byte("extends: [x]\nimage: {encoder: viit}")) == nil {
		t.Error("a plugin that is not there is taken")
	}
}

func TestASpecWithAModelNeedsNoTowers(t *testing.T) {
	schema, _ := JSONSchema(spectest.Plugins(t))
	valid := spectest.Validator(t, schema)
	const rest = "data: {train: {dataset: csv}}\ntrain: {max_steps: 1}\n"
	if err := valid([]byte("model: ViT-B-32\n" + rest)); err != nil {
		t.Error(err)
	}
	if valid([]byte(rest)) == nil {
		t.Error("a spec without towers and model is taken")
	}
}
