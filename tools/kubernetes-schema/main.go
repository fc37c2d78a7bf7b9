// Command kubernetes-schema writes the schema of a Job of Kubernetes, as the API server publishes it, for a test to hold
// manifests against:
//
//	go run ./tools/kubernetes-schema > core/experiment/kubernetes/testdata/job.schema.json
//
// It takes the OpenAPI document out of the module k8s.io/kubernetes, keeps what a Job can hold, drops descriptions, and
// refuses fields that are not known, as the API server does with fieldValidation=Strict.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	module   = "k8s.io/kubernetes@v1.36.3"
	document = "api/openapi-spec/v3/apis__batch__v1_openapi.json"
	root     = "io.k8s.api.batch.v1.Job"
	prefix   = "#/components/schemas/"
)

func main() {
	log.SetFlags(0)
	if err := write(); err != nil {
		log.Fatal(err)
	}
}

func write() error {
	download := exec.Command("go", "mod", "download", "-json", module)
	download.Dir = os.TempDir() // not of this module
	download.Stderr = os.Stderr
	out, err := download.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", module, err)
	}
	var at struct{ Dir string }
	if err := json.Unmarshal(out, &at); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(at.Dir, document))
	if err != nil {
		return err
	}
	var api struct {
		Components struct{ Schemas map[string]map[string]any }
	}
	if err := json.Unmarshal(data, &api); err != nil {
		return err
	}
	kept := map[string]any{}
	var keep func(name string) error
	keep = func(name string) error {
		if kept[name] != nil {
			return nil
		}
		schema := api.Components.Schemas[name]
		if schema == nil {
			return fmt.Errorf("%s has no schema %s", document, name)
		}
		kept[name] = schema
		for _, other := range trim(schema) {
			if err := keep(other); err != nil {
				return err
			}
		}
		return nil
	}
	if err := keep(root); err != nil {
		return err
	}
	schema := map[string]any{
		"$schema":  "https://json-schema.org/draft/2020-12/schema",
		"$comment": "written by tools/kubernetes-schema from " + module + ", " + document + " (Apache-2.0)",
		"$ref":     "#/$defs/" + root,
		"$defs":    kept,
	}
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(schema)
}

// trim drops what a validator does not need, closes objects against other fields, and returns the schemas that node names.
func trim(node any) (names []string) {
	switch x := node.(type) {
	case []any:
		for _, v := range x {
			names = append(names, trim(v)...)
		}
	case map[string]any:
		if ref, ok := x["$ref"].(string); ok {
			name := strings.TrimPrefix(ref, prefix)
			x["$ref"] = "#/$defs/" + name
			names = append(names, name)
		}
		for key, v := range x {
			_, text := v.(string)
			if key == "description" && text || key == "default" || strings.HasPrefix(key, "x-kubernetes-") {
				delete(x, key)
			}
		}
		properties, closed := x["properties"].(map[string]any)
		if closed {
			x["additionalProperties"] = false
			for _, v := range properties { // their names are no words of a schema
				names = append(names, trim(v)...)
			}
		}
		for key, v := range x {
			if key != "properties" {
				names = append(names, trim(v)...)
			}
		}
	}
	return names
}
