package keymap

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// bertFile writes tensors of counted values, by name and shape, and opens them.
func bertFile(t *testing.T, names map[string][]int) *File {
	t.Helper()
	var list []weights.Tensor
	for name, shape := range names {
		n := 1
		for _, d := range shape {
			n *= d
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(len(name)*100 + i)
		}
		list = append(list, weights.FromF32(name, v, shape...))
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := weights.Write(path, list, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

var bertNames = map[string][]int{
	"embeddings.word_embeddings.weight":               {5, 2},
	"embeddings.LayerNorm.gamma":                      {2},
	"encoder.layer.0.attention.self.query.weight":     {2, 2},
	"encoder.layer.0.attention.self.key.weight":       {2, 2},
	"encoder.layer.0.attention.self.value.weight":     {2, 2},
	"encoder.layer.0.attention.output.LayerNorm.bias": {2},
	"pooler.dense.bias":                               {2},
}

// The model is found bare, under a head, and as OpenCLIP's text tower; its projections are packed.
func TestNamesOfBERT(t *testing.T) {
	want := []string{"transformer.embeddings.LayerNorm.weight", "transformer.embeddings.word_embeddings.weight",
		"transformer.encoder.layer.0.attention.output.LayerNorm.bias", "transformer.encoder.layer.0.attention.self.qkv.weight", "transformer.pooler.dense.bias"}
	for _, prefix := range []string{"", "bert.", "roberta.", "text.transformer."} {
		names := map[string][]int{}
		for name, shape := range bertNames {
			names[prefix+name] = shape
		}
		f := bertFile(t, names)
		if got := f.Names(); !slices.Equal(got, want) {
			t.Errorf("%q: %v", prefix, got)
		}
		packed, err := f.F32("transformer.encoder.layer.0.attention.self.qkv.weight", 6, 2)
		base := float32(100 * len(prefix+"encoder.layer.0.attention.self.query.weight"))
		if err != nil || !slices.Equal(packed[:5], []float32{base, base + 1, base + 2, base + 3, base - 200}) {
			t.Errorf("%q: %v, %v", prefix, packed, err)
		}
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := weights.Write(path, []weights.Tensor{weights.FromF32("embeddings.word_embeddings.weight", []float32{1}, 1, 1),
		weights.FromF32("encoder.layer.0.attention.self.query.weight", []float32{1}, 1, 1)}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "lacks its key") {
		t.Errorf("without keys: %v", err)
	}
}

// What is exported has transformers' names, config and tokenizer, and is read again as it was.
func TestExportsOfBERT(t *testing.T) {
	qkv := weights.FromF32("transformer.encoder.layer.3.attention.self.qkv.bias", []float32{1, 2, 3, 4, 5, 6}, 6)
	word := weights.FromF32("transformer.embeddings.word_embeddings.weight", []float32{1, 2}, 1, 2)
	proj := weights.FromF32("proj.weight", []float32{7, 8}, 1, 2)
	out, err := BERT([]weights.Tensor{qkv, word, proj, weights.FromF32("visual.proj", []float32{1}, 1), weights.FromF32("logit_scale", []float32{1})})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, w := range out {
		names = append(names, w.Name)
	}
	if want := []string{"encoder.layer.3.attention.self.query.bias", "encoder.layer.3.attention.self.key.bias", "encoder.layer.3.attention.self.value.bias",
		"embeddings.word_embeddings.weight", "proj.weight"}; !slices.Equal(names, want) {
		t.Errorf("%v", names)
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := weights.Write(path, out, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if v, err := f.F32(qkv.Name, 6); err != nil || !slices.Equal(v, []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("read again: %v, %v", v, err)
	}

	m := Model{Text: json.RawMessage(`{"model_type": "bert", "vocab_size": 9, "width": 2, "heads": 1, "layers": 4, "hidden": 8, "positions": 12, "types": 1, "position_offset": 2, "eps": 1e-5, "act": "gelu"}`),
		Tokenizer: []byte(`{"format": "hf/1", "pad": 0, "file": {"model": 1}}`)}
	config, tokenizer, err := m.BERT()
	if err != nil || string(tokenizer) != `{"model": 1}` {
		t.Fatalf("%s, %v", tokenizer, err)
	}
	for _, want := range []string{`"RobertaModel"`, `"model_type": "roberta"`, `"pad_token_id": 1`, `"max_position_embeddings": 12`, `"layer_norm_eps": 0.00001`} {
		if !strings.Contains(string(config), want) {
			t.Errorf("no %s in %s", want, config)
		}
	}
	if _, err := m.OpenCLIP(); err == nil || !strings.Contains(fault.Format(err), "--format hf") {
		t.Errorf("as OpenCLIP's: %v", err)
	}
}
