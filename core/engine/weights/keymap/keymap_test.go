package keymap

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// model makes one tensor of each sort of a tiny CLIP under OpenCLIP's names: width 2, embed_dim 3.
func model() []weights.Tensor {
	shapes := map[string][]int{
		"logit_scale": {}, "positional_embedding": {4, 2}, "text_projection": {2, 3}, "token_embedding.weight": {9, 2},
		"ln_final.weight": {2}, "ln_final.bias": {2},
		"visual.class_embedding": {2}, "visual.positional_embedding": {5, 2}, "visual.proj": {2, 3},
		"visual.conv1.weight": {2, 3, 4, 4}, "visual.ln_pre.weight": {2}, "visual.ln_post.bias": {2},
	}
	for _, tower := range []string{"transformer.resblocks.0.", "visual.transformer.resblocks.11."} {
		for name, shape := range map[string][]int{
			"ln_1.weight": {2}, "ln_2.bias": {2}, "attn.in_proj_weight": {6, 2}, "attn.in_proj_bias": {6},
			"attn.out_proj.weight": {2, 2}, "attn.out_proj.bias": {2}, "mlp.c_fc.weight": {8, 2}, "mlp.c_proj.bias": {2},
		} {
			shapes[tower+name] = shape
		}
	}
	var out []weights.Tensor
	seed := float32(0)
	for _, name := range sortedKeys(shapes) {
		n := 1
		for _, d := range shapes[name] {
			n *= d
		}
		v := make([]float32, n)
		for i := range v {
			seed++
			v[i] = seed
		}
		out = append(out, weights.FromF32(name, v, shapes[name]...))
	}
	return out
}

func sortedKeys(m map[string][]int) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func open(t *testing.T, tensors []weights.Tensor, meta map[string]string) (*File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := weights.Write(path, tensors, meta); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err == nil {
		t.Cleanup(func() { f.Close() })
	}
	return f, err
}

// same holds a file against the model, bit for bit.
func same(t *testing.T, f *File, want []weights.Tensor) {
	t.Helper()
	if len(f.Names()) != len(want) {
		t.Errorf("%d names, want %d: %v", len(f.Names()), len(want), f.Names())
	}
	for _, w := range want {
		got, err := f.F32(w.Name, w.Shape...)
		if err != nil {
			t.Error(err)
			continue
		}
		if !slices.Equal(weights.Bytes(got), w.Data) {
			t.Errorf("%s is %v", w.Name, got)
		}
	}
}

func renamed(tensors []weights.Tensor, f func(string) string) []weights.Tensor {
	out := slices.Clone(tensors)
	for i := range out {
		out[i].Name = f(out[i].Name)
	}
	return out
}

func TestPrefixesAndScalarsDoNotMatter(t *testing.T) {
	extra := []weights.Tensor{weights.FromI64("input_resolution", []int64{224}), weights.FromI64("context_length", []int64{77}),
		weights.FromI64("vocab_size", []int64{49408}), weights.FromF32("attn_mask", make([]float32, 16), 4, 4)}
	for name, change := range map[string]func(string) string{
		"plain":  func(n string) string { return n },
		"module": func(n string) string { return "module." + n },
		"custom text": func(n string) string {
			if Modality(n) == "text" {
				return "module.text." + n
			}
			return "module." + n
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := open(t, renamed(append(model(), extra...), change), nil)
			if err != nil {
				t.Fatal(err)
			}
			same(t, f, model())
			if f.Layout() != "open_clip" {
				t.Errorf("layout %s", f.Layout())
			}
		})
	}
}

// What HF renames, Open finds again: transformers' names, with projections apart and transposed.
func TestTransformersNames(t *testing.T) {
	hf, err := HF(model())
	if err != nil {
		t.Fatal(err)
	}
	shapes := map[string][]int{}
	for _, w := range hf {
		shapes[w.Name] = w.Shape
	}
	for name, want := range map[string][]int{
		"logit_scale": {}, "text_projection.weight": {3, 2}, "visual_projection.weight": {3, 2},
		"vision_model.pre_layrnorm.weight": {2}, "vision_model.post_layernorm.bias": {2}, "text_model.final_layer_norm.bias": {2},
		"vision_model.embeddings.class_embedding": {2}, "vision_model.embeddings.patch_embedding.weight": {2, 3, 4, 4},
		"text_model.embeddings.position_embedding.weight":          {4, 2},
		"text_model.encoder.layers.0.self_attn.k_proj.weight":      {2, 2},
		"vision_model.encoder.layers.11.self_attn.v_proj.bias":     {2},
		"vision_model.encoder.layers.11.self_attn.out_proj.weight": {2, 2},
		"text_model.encoder.layers.0.layer_norm1.weight":           {2},
		"text_model.encoder.layers.0.mlp.fc1.weight":               {8, 2},
		"vision_model.encoder.layers.11.mlp.fc2.bias":              {2},
		"text_model.embeddings.token_embedding.weight":             {9, 2},
		"vision_model.embeddings.position_embedding.weight":        {5, 2},
	} {
		if got, ok := shapes[name]; !ok || !slices.Equal(got, want) {
			t.Errorf("%s is %v (there: %v), want %v", name, got, ok, want)
		}
	}
	hf = append(hf, weights.FromI64("text_model.embeddings.position_ids", make([]int64, 4), 1, 4))
	f, err := open(t, hf, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, f, model())
	if f.Layout() != "hf" {
		t.Errorf("layout %s", f.Layout())
	}
	if _, err := HF([]weights.Tensor{weights.FromF32("visual.layer1.0.bn1.weight", []float32{1}, 1)}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a ResNet for transformers: %v", err)
	}
}

// In the middle of x [out, in] = [3, 2], element (1, 0) goes to (0, 1).
func TestTransposition(t *testing.T) {
	if got := transposeMatrix([]float32{1, 2, 3, 4, 5, 6}, 3, 2); !slices.Equal(got, []float32{1, 3, 5, 2, 4, 6}) {
		t.Error(got)
	}
}

func TestScalarsMayHaveAnAxis(t *testing.T) {
	f, err := open(t, []weights.Tensor{weights.FromF32("module.logit_scale", []float32{2.5}, 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok, err := f.Scalar(LogitScale); v != 2.5 || !ok || err != nil {
		t.Errorf("%v %v %v", v, ok, err)
	}
	if _, ok, err := f.Scalar(LogitBias); ok || err != nil {
		t.Errorf("bias: %v %v", ok, err)
	}
}

func TestHalvesAreWidened(t *testing.T) {
	f, err := open(t, []weights.Tensor{{Name: "visual.proj", DType: weights.F16, Shape: []int{1, 2}, Data: []byte{0, 0x3c, 0, 0xc0}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := f.F32("visual.proj", 1, 2); err != nil || v[0] != 1 || v[1] != -2 {
		t.Errorf("%v %v", v, err)
	}
}

// Results of PyTorch's interpolation, as OpenCLIP calls it (testdata/positions.py).
func TestPositionsAreResampledAsOpenCLIPDoes(t *testing.T) {
	raw, err := os.ReadFile("testdata/positions.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name     string
		From, To []int
		Values   []float64
	}
	if err := json.Unmarshal(raw, &cases); err != nil || len(cases) < 6 {
		t.Fatal(len(cases), err)
	}
	for _, c := range cases {
		n := c.From[0] * c.From[1]
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(math.Sin(.7*float64(i)) * (1 + float64(i)/float64(n)))
		}
		f, err := open(t, []weights.Tensor{weights.FromF32(c.Name, x, c.From...)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.F32(c.Name, c.To...)
		if err != nil || len(got) != len(c.Values) {
			t.Errorf("%s %v → %v: %d values, %v", c.Name, c.From, c.To, len(got), err)
			continue
		}
		for i, v := range got {
			if math.Abs(float64(v)-c.Values[i]) > 1e-6 {
				t.Errorf("%s %v → %v: value %d is %g, want %g", c.Name, c.From, c.To, i, v, c.Values[i])
				break
			}
		}
		if strings.HasPrefix(c.Name, "visual.") && !slices.Equal(got[:c.To[1]], x[:c.To[1]]) {
			t.Errorf("%s: the class token changed", c.Name)
		}
	}
}

func TestFaultsNameTheTensor(t *testing.T) {
	one := []float32{1}
	for want, tensors := range map[string][]weights.Tensor{
		`"logit_scale" and "module.logit_scale" are both`: {weights.FromF32("logit_scale", one), weights.FromF32("module.logit_scale", one)},
		"lacks its value projection": {
			weights.FromF32("text_model.encoder.layers.0.self_attn.q_proj.bias", one, 1), weights.FromF32("text_model.encoder.layers.0.self_attn.k_proj.bias", one, 1)},
	} {
		_, err := open(t, tensors, nil)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := open(t, model(), map[string]string{"format": "tandem encoder 1"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a checkpoint's file: %v", err)
	}
	f, err := open(t, append(model(), weights.FromI64("bad", []int64{1}, 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, shape := range map[string][]int{"gone": {2}, "visual.proj": {3, 2}, "visual.positional_embedding": {4, 2}, "bad": {1}} {
		if _, err := f.F32(name, shape...); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), name) {
			t.Errorf("%s %v: %v", name, shape, err)
		}
	}
}
