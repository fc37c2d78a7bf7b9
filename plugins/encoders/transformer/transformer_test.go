package main

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/engine/tower/towertest"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
	"tandem/core/tensor"
)

func text(options ...tower.Option) clip.Encoder { return tower.Text(build, options...) }

const small = `"context_length": 32, "vocab_size": 600, "width": 16, "heads": 2, "layers": 2`

func TestKeepsThePromisesOfATower(t *testing.T) {
	towertest.Case{
		New:  text,
		With: `{` + small + `}`, Other: `{` + small + `, "causal": false}`,
	}.Check(t)
}

// Every switch has its own path through the graph; each has the right gradient.
func TestSwitches(t *testing.T) {
	for name, with := range map[string]string{
		"end of text":   `"pool_type": "eos", "tokenizer": "byte"`,
		"first":         `"pool_type": "first", "causal": false`,
		"last":          `"pool_type": "last"`,
		"mean":          `"pool_type": "mean"`,
		"mean, all see": `"pool_type": "mean", "causal": false`,
		"quick gelu":    `"act": "quick_gelu", "mlp_ratio": 2`,
		"siglip":        `"act": "gelu_tanh", "pool_type": "last", "causal": false, "proj_bias": true, "norm_eps": 1e-6`,
	} {
		t.Run(name, towertest.Case{New: text, With: `{` + small + `, ` + with + `}`}.Gradient)
	}
}

func BenchmarkBase(b *testing.B) { towertest.Benchmark(b, text, `{}`, 512, 16) }

// configure makes an encoder with the small network and further options.
func configure(t *testing.T, with string, captions []string) clip.Encoder {
	t.Helper()
	e := text()
	t.Cleanup(func() { e.Close() })
	_, err := e.Configure(context.Background(), clip.EncoderConfig{
		With: json.RawMessage(`{` + small + with + `}`), EmbedDim: 6, Seed: 1, Captions: captions,
		Optimizer: clip.Optimizer{Name: "sgd"}, Compute: towertest.CPU,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func embed(t *testing.T, e clip.Encoder, mode clip.Mode, captions ...string) (*tensor.Tensor, clip.Ticket) {
	t.Helper()
	out, ticket, err := e.Forward(context.Background(), clip.ForwardRequest{Texts: captions, Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	return out, ticket
}

// Captions follow each other without padding. What else is in the batch must not change the numbers of a
// caption, nor its gradient.
func TestShortBatchesEqualTheFullContext(t *testing.T) {
	for _, pool := range []string{"argmax", "eos", "first", "mean"} {
		t.Run(pool, func(t *testing.T) {
			gradient := func(captions ...string) ([]float32, map[string][]float32) {
				e := configure(t, `, "tokenizer": "byte", "pool_type": "`+pool+`"`, nil)
				towertest.Rewrite(t, e, func(name string, shape []int, i int) float32 {
					return float32(math.Sin(float64(len(name)*1000+i))) / 2
				})
				before := towertest.Values(t, e)
				out, ticket := embed(t, e, clip.Train, captions...)
				grad := tensor.New(tensor.F32, len(captions), 6)
				copy(grad.F32(), []float32{9, -8, 7, -6, 5, 4})
				if err := e.Backward(context.Background(), ticket, grad); err != nil {
					t.Fatal(err)
				}
				if err := e.Step(context.Background(), 1, 1, 1); err != nil {
					t.Fatal(err)
				}
				after := towertest.Values(t, e)
				for name := range after {
					for i := range after[name] {
						after[name][i] -= before[name][i]
					}
				}
				return out.F32()[:6], after
			}
			short, shortGrad := gradient("a cat")
			full, fullGrad := gradient("a cat", strings.Repeat("long ", 20))
			for i := range short {
				if math.Abs(float64(short[i]-full[i])) > 1e-6 {
					t.Errorf("embedding %v, with the full context %v", short, full)
					break
				}
			}
			for name := range shortGrad {
				for i := range shortGrad[name] {
					if math.Abs(float64(shortGrad[name][i]-fullGrad[name][i])) > 1e-4 {
						t.Errorf("gradient of %s differs: %g, with the full context %g", name, shortGrad[name][i], fullGrad[name][i])
						break
					}
				}
			}
		})
	}
}

// A tokenizer to be learned needs captions or a checkpoint; a checkpoint brings its tokenizer.
func TestTokenizerComesFromCaptionsOrCheckpoint(t *testing.T) {
	ctx := context.Background()
	captions := []string{"red bird", "red birds", "a red bird on a red wire", "bird", "red"}
	learned, other, bare := configure(t, "", captions), configure(t, "", []string{"zebra zebra", "zebra"}), configure(t, "", nil)
	if _, _, err := bare.Forward(ctx, clip.ForwardRequest{Texts: captions}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("without a tokenizer: got %v, want fault.Conflict", err)
	}
	want, _ := embed(t, learned, clip.Eval, "a red bird")
	path := filepath.Join(t.TempDir(), "text.safetensors")
	if err := learned.Save(ctx, path); err != nil {
		t.Fatal(err)
	}
	for _, e := range []clip.Encoder{other, bare} {
		if err := e.Load(ctx, path); err != nil {
			t.Fatal(err)
		}
		if got, _ := embed(t, e, clip.Eval, "a red bird"); !slices.Equal(got.F32(), want.F32()) {
			t.Error("the loaded encoder embeds other tokens")
		}
	}
}

// Tokens are counted whole, before Configure as after it, so that a cut caption shows.
func TestTokensAreCountedBeyondTheContext(t *testing.T) {
	config := clip.EncoderConfig{With: json.RawMessage(`{"context_length": 8, "tokenizer": "byte", "width": 16, "heads": 2, "layers": 1}`),
		EmbedDim: 6, Optimizer: clip.Optimizer{Name: "sgd"}, Compute: towertest.CPU}
	e := text()
	t.Cleanup(func() { e.Close() })
	check := func(c *clip.EncoderConfig) {
		t.Helper()
		tokens, limit, err := e.(clip.TokenCounter).CountTokens(t.Context(), c, []string{"abcdef", "abcdefg", "a", " \t "})
		if err != nil || limit != 8 || !slices.Equal(tokens, []int{8, 9, 3, 2}) {
			t.Errorf("tokens %v of at most %d (%v), want [8 9 3 2] of at most 8", tokens, limit, err)
		}
	}
	check(&config)
	if _, err := e.Configure(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	check(nil)
	if _, _, err := e.(clip.TokenCounter).CountTokens(t.Context(), &config, nil); fault.KindOf(err) != fault.Conflict {
		t.Errorf("configured twice: %v", err)
	}
}

// A tokenizer.json brings its ids, its padding and its ends; a checkpoint keeps it.
func TestATokenizerFileOfHuggingFace(t *testing.T) {
	const file = `, "vocab_size": 9000, "tokenizer": "hf", "tokenizer_file": "../../../core/media/token/hf/testdata/`
	bert := configure(t, file+`wordpiece.json", "causal": false, "pool_type": "first"`, nil)
	counts, _, err := bert.(clip.TokenCounter).CountTokens(t.Context(), nil, []string{"a cat", ""})
	if err != nil || !slices.Equal(counts, []int{4, 2}) { // with [CLS] and [SEP]
		t.Errorf("tokens %v, %v", counts, err)
	}
	want, _ := embed(t, bert, clip.Eval, "a cat")
	path := filepath.Join(t.TempDir(), "text.safetensors")
	if err := bert.Save(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	again := configure(t, file+`wordpiece.json", "causal": false, "pool_type": "first"`, nil)
	if err := again.Load(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if got, _ := embed(t, again, clip.Eval, "a cat"); !slices.Equal(got.F32(), want.F32()) {
		t.Error("the loaded encoder embeds other tokens")
	}
	for with, want := range map[string]string{file + `gpt2.json"`: "with.pool_type", file[len(`, "vocab_size": 9000`):] + `gpt2.json", "pool_type": "eos"`: "with.vocab_size"} {
		_, err := text().Configure(t.Context(), clip.EncoderConfig{With: json.RawMessage(`{` + small + with + `}`), EmbedDim: 6,
			Optimizer: clip.Optimizer{Name: "sgd"}, Compute: towertest.CPU})
		var f *fault.Error
		if !errors.As(err, &f) || f.Path != want {
			t.Errorf("%s: %v, want a fault at %s", with, err, want)
		}
	}
}

// What the schema cannot see is refused with the option's path.
func TestImpossibleOptions(t *testing.T) {
	for with, path := range map[string]string{
		`"heads": 3`:                             "with.width",
		`"tokenizer": "clip", "vocab_size": 600`: "with.vocab_size",
		`"merges": "x.gz"`:                       "with.merges",
		`"tokenizer": "hf"`:                      "with.tokenizer_file",
		`"tokenizer_file": "x.json"`:             "with.tokenizer_file",
		`"tokenizer": "byte", "vocab_size": 200`: "with.vocab_size",
		`"tokenizer": "bpe", "vocab_size": 300`:  "with.vocab_size",
		`"pool_type": "eot"`:                     "with.pool_type",
	} {
		_, err := text().Configure(context.Background(), clip.EncoderConfig{
			With: json.RawMessage(`{` + with + `}`), EmbedDim: 6, Captions: []string{"a"},
			Optimizer: clip.Optimizer{Name: "sgd"}, Compute: towertest.CPU,
		})
		var f *fault.Error
		var list fault.List
		if errors.As(err, &list) {
			f = list[0]
		} else if !errors.As(err, &f) {
			t.Errorf("%s: got %v", with, err)
			continue
		}
		if f.Kind != fault.Invalid || f.Path != path {
			t.Errorf("%s: got %s at %q: %v (hint %q)", with, f.Kind, f.Path, err, f.Hint)
		}
	}
}

func TestKeepsThePromisesOfAnEncoder(t *testing.T) {
	conformance.TestEncoder(t, Plugin.New, conformance.EncoderOptions{Outputs: Plugin.Outputs, Capabilities: Plugin.Capabilities, With: `{` + small + `}`, Compute: towertest.CPU})
}
