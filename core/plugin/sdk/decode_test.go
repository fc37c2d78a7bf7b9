package sdk

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem/core/clip"
	"tandem/core/fault"
)

type common struct {
	Seed int `with:"seed" help:"of the plugin"`
}

type options struct {
	common
	Width  int                `with:"width" min:"1" max:"4096" help:"channels"`
	Drop   float64            `with:"drop" min:"0" max:"0.9" help:"share left out"`
	Pool   string             `with:"pool" enum:"mean,cls" help:"pooling"`
	Bias   bool               `with:"bias" help:"add a bias"`
	Merges string             `with:"merges" type:"path" help:"CLIP merges file"`
	Root   string             `with:"root" required:"true" help:"folder of the pictures"`
	Blocks []int              `with:"blocks" min:"1" help:"per stage"`
	Scale  [2]float64         `with:"scale" help:"range"`
	Weight map[string]float64 `with:"weight" help:"by part"`
	Limit  uint64             `with:"limit" help:"at most"`
}

var defaults = options{Width: 256, Pool: "cls", Scale: [2]float64{0.5, 1}}

func TestSchemaSaysWhatTheTagsSay(t *testing.T) {
	one, zero, big, ninety := 1.0, 0.0, 4096.0, 0.9
	want := []clip.Field{
		{Name: "seed", Type: clip.TypeInt, Help: "of the plugin"},
		{Name: "width", Type: clip.TypeInt, Default: 256, Min: &one, Max: &big, Help: "channels"},
		{Name: "drop", Type: clip.TypeFloat, Min: &zero, Max: &ninety, Help: "share left out"},
		{Name: "pool", Type: clip.TypeString, Default: "cls", Enum: []string{"mean", "cls"}, Help: "pooling"},
		{Name: "bias", Type: clip.TypeBool, Help: "add a bias"},
		{Name: "merges", Type: clip.TypePath, Help: "CLIP merges file"},
		{Name: "root", Type: clip.TypeString, Required: true, Help: "folder of the pictures"},
		{Name: "blocks", Type: clip.TypeList, Elem: clip.TypeInt, Min: &one, Help: "per stage"},
		{Name: "scale", Type: clip.TypeList, Elem: clip.TypeFloat, Len: 2, Default: [2]float64{0.5, 1}, Help: "range"},
		{Name: "weight", Type: clip.TypeMap, Elem: clip.TypeFloat, Help: "by part"},
		{Name: "limit", Type: clip.TypeInt, Help: "at most"},
	}
	if diff := cmp.Diff(want, Schema(defaults)); diff != "" {
		t.Error(diff)
	}
	if len(Schema(nil)) != 0 {
		t.Error("a plugin without options has a schema")
	}
}

func TestDecodeKeepsDefaultsAndReadsTheRest(t *testing.T) {
	got := defaults
	err := Decode(json.RawMessage(`{"root":"/x","drop":0.25,"blocks":[3,4.0],"scale":[0.08,1],
		"weight":{"a":1.5},"bias":true,"seed":-7,"limit":18446744073709551615}`), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := options{common: common{Seed: -7}, Width: 256, Drop: 0.25, Pool: "cls", Bias: true, Root: "/x",
		Blocks: []int{3, 4}, Scale: [2]float64{0.08, 1}, Weight: map[string]float64{"a": 1.5}, Limit: math.MaxUint64}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{})); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeNamesEveryFault(t *testing.T) {
	cases := map[string]struct{ path, msg, hint string }{
		`{"wdth":3,"root":"x"}`:           {"with.wdth", "unknown field", "did you mean width?"},
		`{"width":2.5,"root":"x"}`:        {"with.width", "2.5 is not a whole number", ""},
		`{"width":0,"root":"x"}`:          {"with.width", "below the minimum 1", ""},
		`{"drop":1,"root":"x"}`:           {"with.drop", "above the maximum 0.9", ""},
		`{"pool":"men","root":"x"}`:       {"with.pool", `"men" is not allowed`, "did you mean mean?"},
		`{"bias":1,"root":"x"}`:           {"with.bias", "is the number 1, want bool", ""},
		`{"blocks":[1,0],"root":"x"}`:     {"with.blocks[1]", "below the minimum", ""},
		`{"blocks":4,"root":"x"}`:         {"with.blocks", "want list of int", ""},
		`{"scale":[1],"root":"x"}`:        {"with.scale", "has 1 values, want 2", ""},
		`{"weight":{"a":"b"},"root":"x"}`: {"with.weight.a", "want float", ""},
		`{"limit":-1,"root":"x"}`:         {"with.limit", "not a whole number in range", ""},
		`{}`:                              {"with.root", "is required", "folder of the pictures"},
		`[]`:                              {"with", "not a JSON object", ""},
	}
	for raw, want := range cases {
		cfg := defaults
		err := Decode(json.RawMessage(raw), &cfg)
		var e *fault.Error
		var list fault.List
		if errors.As(err, &list) {
			e = list[0]
		} else if !errors.As(err, &e) {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if e.Kind != fault.Invalid || e.Path != want.path || !strings.Contains(e.Msg, want.msg) || !strings.Contains(e.Hint, want.hint) {
			t.Errorf("%s: %s hint %q, want %+v", raw, e, e.Hint, want)
		}
	}
	cfg := defaults
	var list fault.List
	if err := Decode(json.RawMessage(`{"a":1,"width":"x"}`), &cfg); !errors.As(err, &list) || len(list) != 3 {
		t.Errorf("three faults are reported as %v", err)
	}
}
