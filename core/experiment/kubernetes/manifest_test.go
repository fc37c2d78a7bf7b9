package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"tandem/core/fault"
)

func study() Study {
	return Study{
		Name: "losses", Experiment: "losses", Namespace: "research", Image: "registry/tandem:1",
		Command: []string{"runner", "task", "/shared/bundles/losses", "--index", Index}, Merge: []string{"runner", "merge", "/shared/bundles/losses"},
		User: 1000, Group: 1000, Tasks: 12, Parallel: 4, Claim: "shared", Mount: "/shared", CPUs: "4", Memory: "16Gi", GPUs: 1, GraceSec: 120, Retries: 3,
		Final: []int{2}, Stopped: []int{143, 130, 143}, Annotated: map[string]string{"bundle": "sha256:ab"},
	}
}

// documents reads YAML as an API server does: as JSON.
func documents(t *testing.T, manifest []byte) (all []map[string]any) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(manifest))
	for {
		var v map[string]any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		one, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one.(map[string]any))
	}
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile("testdata/job.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestManifestIsAJobOfTheAPI(t *testing.T) {
	plain := study()
	plain.Namespace, plain.CPUs, plain.Memory, plain.GPUs, plain.Parallel, plain.User, plain.Merge = "", "", "", 0, 0, 0, nil
	for name, s := range map[string]Study{"all": study(), "plain": plain} {
		manifest, err := Manifest(s)
		if err != nil {
			t.Fatal(err)
		}
		for i, doc := range documents(t, manifest) {
			if err := schema(t).Validate(doc); err != nil {
				t.Errorf("%s: document %d: %v\n%s", name, i, err, manifest)
			}
		}
	}
}

func TestSchemaRefusesWhatTheAPIRefuses(t *testing.T) {
	for _, change := range []func(spec map[string]any){
		func(spec map[string]any) { spec["completion_mode"] = "Indexed" },
		func(spec map[string]any) { spec["completions"] = "12" },
		func(spec map[string]any) { delete(spec, "template") },
		func(spec map[string]any) {
			spec["template"].(map[string]any)["spec"].(map[string]any)["volumes"] = []any{map[string]any{"claim": "shared"}}
		},
	} {
		manifest, err := Manifest(study())
		if err != nil {
			t.Fatal(err)
		}
		doc := documents(t, manifest)[0]
		change(doc["spec"].(map[string]any))
		if schema(t).Validate(doc) == nil {
			t.Errorf("the schema takes %v", doc["spec"])
		}
	}
}

func TestTasksGoOnAndTheMergeWaits(t *testing.T) {
	manifest, err := Manifest(study())
	if err != nil {
		t.Fatal(err)
	}
	want := `apiVersion: batch/v1
kind: Job
metadata:
  name: losses
  namespace: research
  labels:
    app.kubernetes.io/name: tandem
    tandem/experiment: losses
  annotations:
    tandem/bundle: sha256:ab
spec:
  completionMode: Indexed
  completions: 12
  parallelism: 4
  backoffLimitPerIndex: 3
  podReplacementPolicy: Failed
  podFailurePolicy:
    rules:
      - action: Ignore
        onPodConditions:
          - type: DisruptionTarget
            status: "True"
      - action: Ignore
        onExitCodes:
          containerName: runner
          operator: In
          values: [130, 143]
      - action: FailIndex
        onExitCodes:
          containerName: runner
          operator: In
          values: [2]
`
	if !strings.HasPrefix(string(manifest), want) {
		t.Errorf("the manifest begins\n%.1200s\nwant\n%s", manifest, want)
	}
	docs := documents(t, manifest)
	if len(docs) != 2 {
		t.Fatalf("%d documents", len(docs))
	}
	merge := docs[1]
	if name := merge["metadata"].(map[string]any)["name"]; name != "losses-merge" || merge["spec"].(map[string]any)["suspend"] != true {
		t.Errorf("the merge is %v", merge)
	}
}

func TestBadStudiesAreRefused(t *testing.T) {
	for field, spoil := range map[string]func(*Study){
		"image":     func(s *Study) { s.Image = "" },
		"claim":     func(s *Study) { s.Claim = "My_Claim" },
		"namespace": func(s *Study) { s.Namespace = "a.b" },
		"mount":     func(s *Study) { s.Mount = "shared" },
		"tasks":     func(s *Study) { s.Tasks = 0 },
		"cpus":      func(s *Study) { s.CPUs = "four" },
		"memory":    func(s *Study) { s.Memory = "16GB" },
	} {
		s := study()
		spoil(&s)
		_, err := Manifest(s)
		var e *fault.Error
		if !errors.As(err, &e) || e.Kind != fault.Invalid || e.Path != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestNamesAreThoseOfRFC1123(t *testing.T) {
	seen := map[string]string{}
	for _, text := range []string{"losses", "Losses", "losses!", "a b", "a_b", "a.b", "ä", "", "-", "9", strings.Repeat("long", 30), strings.Repeat("long", 31),
		strings.Repeat("x", 50) + "-" + strings.Repeat("y", 20), "42%" + strings.Repeat("-", 80)} {
		for _, suffix := range []string{"", "-merge"} {
			name := Name(text, suffix)
			if !isLabel(name) || len(name) > nameRoom || !strings.HasSuffix(name, suffix) {
				t.Errorf("%q becomes %q", text, name)
			}
			if other, ok := seen[name]; ok {
				t.Errorf("%q and %q both become %q", text, other, name)
			}
			seen[name] = text
		}
	}
	if Name("losses", "") != "losses" {
		t.Errorf("losses becomes %q", Name("losses", ""))
	}
	if w := Literal("a$(b)$$c"); w != "a$$(b)$$$$c" {
		t.Errorf("literal %q", w)
	}
	if v := labelValue("-50 % of ö"); v != "50___of" {
		t.Errorf("label %q", v)
	}
}
