package spectest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// Validator compiles a JSON Schema and returns a function that holds a YAML text against it, as editors do.
func Validator(t testing.TB, schema []byte) func(text []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("spec.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("spec.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(text []byte) error {
		var root yaml.Node
		if err := yaml.Unmarshal(text, &root); err != nil {
			return err
		}
		if len(root.Content) == 0 {
			return compiled.Validate(map[string]any{})
		}
		v, err := fromYAML(root.Content[0])
		if err != nil {
			return err
		}
		return compiled.Validate(v)
	}
}

// fromYAML returns a node's value as JSON has it: keys are texts, and so are dates.
func fromYAML(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, err := fromYAML(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			m[n.Content[i].Value] = v
		}
		return m, nil
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			v, err := fromYAML(c)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.ScalarNode:
		if n.ShortTag() == "!!timestamp" {
			return n.Value, nil
		}
		var v any
		err := n.Decode(&v)
		return v, err
	}
	return nil, fmt.Errorf("line %d: an alias", n.Line)
}
