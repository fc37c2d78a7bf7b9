package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower/towertest"
	"tandem/core/fault"
)

// configured configures the encoder with a folder; more are further settings.
func configured(t *testing.T, folder, more string, embedDim int, change func(*clip.EncoderConfig)) (clip.Encoder, clip.EncoderInfo, error) {
	t.Helper()
	c := clip.EncoderConfig{With: json.RawMessage(fmt.Sprintf(`{"folder": %q%s}`, folder, more)), EmbedDim: embedDim, Seed: 1,
		Optimizer: clip.Optimizer{Name: "sgd"}, Compute: towertest.CPU}
	if change != nil {
		change(&c)
	}
	e := text()
	t.Cleanup(func() { e.Close() })
	info, err := e.Configure(t.Context(), c)
	return e, info, err
}

// Folders of transformers give its ids and its features.
func TestFoldersOfTransformers(t *testing.T) {
	for _, name := range []string{"bert-folder", "roberta-folder"} {
		folder := filepath.Join("testdata", name)
		var want struct {
			Pool          string      `json:"pool"`
			ContextLength int         `json:"context_length"`
			Texts         []string    `json:"texts"`
			IDs           [][]int32   `json:"ids"`
			Embeddings    [][]float64 `json:"embeddings"`
		}
		if err := readJSON(filepath.Join(folder, "want.json"), &want); err != nil || len(want.Texts) == 0 {
			t.Fatalf("%d texts, %v", len(want.Texts), err)
		}
		tokenizer, err := readTokenizer(folder)
		if err != nil {
			t.Fatal(err)
		}
		checkIDs(t, tokenizer, want.ContextLength, want.Texts, want.IDs)
		e, info, err := configured(t, folder, fmt.Sprintf(`, "pool": %q, "context_length": %d`, want.Pool, want.ContextLength), 8, nil)
		if err != nil {
			t.Fatal(err)
		}
		if info.ContextLength != want.ContextLength {
			t.Errorf("%s: a context of %d tokens", name, info.ContextLength)
		}
		out, _, err := e.Forward(t.Context(), clip.ForwardRequest{Texts: want.Texts})
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range out.F32() {
			if d := math.Abs(float64(v) - want.Embeddings[i/8][i%8]); !(d < 1e-5) {
				t.Errorf("%s: %q: element %d differs by %g", name, want.Texts[i/8], i%8, d)
			}
		}
	}
}

// Adapters and a projection, which no folder has, do not hinder its weights; a frozen tower without them is fixed.
func TestWhatAFolderDoesNotHaveBeginsAtRandom(t *testing.T) {
	const folder = "testdata/bert-folder"
	plain, info, err := configured(t, folder, "", 8, func(c *clip.EncoderConfig) { c.Freeze.All = true })
	if err != nil || !info.Fixed || info.Frozen != info.Parameters {
		t.Fatalf("%+v, %v", info, err)
	}
	weights := towertest.Values(t, plain)
	for name, change := range map[string]func(*clip.EncoderConfig){
		"adapters":   func(c *clip.EncoderConfig) { c.LoRA = &clip.LoRA{Rank: 2, Alpha: 4} },
		"projection": func(c *clip.EncoderConfig) { c.EmbedDim = 5 },
		"average":    func(c *clip.EncoderConfig) { c.Optimizer.EMADecay = .9 },
		"bfloat16":   func(c *clip.EncoderConfig) { c.Compute.Precision = "bf16-emulated" },
	} {
		e, _, err := configured(t, folder, "", 8, change)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for parameter, v := range towertest.Values(t, e) {
			if w, ok := weights[parameter]; ok && !slices.Equal(v, w) {
				t.Errorf("%s: %s does not begin as the folder's", name, parameter)
			}
		}
	}
	random, _, err := configured(t, folder, `, "pretrained": false`, 8, nil)
	if err != nil {
		t.Fatal(err)
	}
	if name := prefix + "embeddings.word_embeddings.weight"; slices.Equal(towertest.Values(t, random)[name], weights[name]) {
		t.Error("pretrained: false begins with the folder's weights")
	}
}

// A folder that is not whole, or of a model that this encoder does not compute, is refused with the file and a remedy; the
// folder says its sizes itself.
func TestFoldersThatAreRefused(t *testing.T) {
	for what, c := range map[string]struct {
		change   func(t *testing.T, folder string)
		more     string
		path     string
		has, hit string
	}{
		"no config":        {func(t *testing.T, f string) { remove(t, f, "config.json") }, "", "with.folder", "config.json", "as long as its runs"},
		"no tokenizer":     {func(t *testing.T, f string) { remove(t, f, "tokenizer.json") }, "", "with.folder", "tokenizer.json", "AutoTokenizer"},
		"no weights":       {func(t *testing.T, f string) { remove(t, f, "model.safetensors") }, "", "", "without weights", ""},
		"another kind":     {func(t *testing.T, f string) { set(t, f, `"model_type": "bert"`, `"model_type": "t5"`) }, "", "with.folder", `"t5"`, ""},
		"another function": {func(t *testing.T, f string) { set(t, f, `"hidden_act": "gelu"`, `"hidden_act": "silu"`) }, "", "with.folder", `"silu"`, ""},
		"another size":     {func(t *testing.T, f string) { set(t, f, `"intermediate_size": 12`, `"intermediate_size": 13`) }, "", "", "[12 8], want [13 8]", "config.json"},
		"relative positions": {func(t *testing.T, f string) {
			set(t, f, `"hidden_act": "gelu"`, `"hidden_act": "gelu", "position_embedding_type": "relative_key"`)
		}, "", "with.folder", "relative_key", ""},
		"a size beside it": {nil, `, "width": 8`, "with.width", "the folder's own", ""},
		"too long":         {nil, `, "context_length": 33`, "with.context_length", "32 tokens", "32"},
		"no projection":    {nil, `, "proj": "none"`, "with.proj", "embed_dim 6", "linear"},
		"pooling": {func(t *testing.T, f string) {
			put(t, f, "1_Pooling/config.json", `{"pooling_mode_max_tokens": true}`)
		}, "", "with.folder", "does not compute", ""},
	} {
		folder := t.TempDir()
		if err := os.CopyFS(folder, os.DirFS("testdata/bert-folder")); err != nil {
			t.Fatal(err)
		}
		if c.change != nil {
			c.change(t, folder)
		}
		_, _, err := configured(t, folder, c.more, 6, nil)
		var f *fault.Error
		if !errors.As(err, &f) || f.Path != c.path || !strings.Contains(fault.Format(err), c.has) || !strings.Contains(f.Hint, c.hit) {
			t.Errorf("%s: %v, want %q at %q and a hint with %q", what, fault.Format(err), c.has, c.path, c.hit)
		}
	}
}

// What sentence-transformers says beside a model counts.
func TestFoldersOfSentenceTransformers(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("testdata/bert-folder")); err != nil {
		t.Fatal(err)
	}
	put(t, folder, "sentence_bert_config.json", `{"max_seq_length": 9}`)
	put(t, folder, "1_Pooling/config.json", `{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}`)
	a, err := readFolder(folder)
	if err != nil || a.context != 9 || a.Pool != "cls" {
		t.Errorf("%d tokens, pool %q, %v", a.context, a.Pool, err)
	}
	e := text()
	defer e.Close()
	c := clip.EncoderConfig{With: json.RawMessage(fmt.Sprintf(`{"folder": %q}`, folder)), EmbedDim: 8, Optimizer: clip.Optimizer{Name: "sgd"}, Compute: towertest.CPU}
	counts, most, err := e.(clip.TokenCounter).CountTokens(t.Context(), &c, []string{"dog", "", "a dog a dog a dog a dog"})
	if err != nil || most != 9 || !slices.Equal(counts, []int{3, 2, 10}) {
		t.Errorf("tokens %v of at most %d (%v)", counts, most, err)
	}
}

func remove(t *testing.T, folder, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(folder, name)); err != nil {
		t.Fatal(err)
	}
}

// set replaces a part of the config.
func set(t *testing.T, folder, old, replacement string) {
	t.Helper()
	file := filepath.Join(folder, "config.json")
	data, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(data), old) {
		t.Fatalf("no %s in %s (%v)", old, data, err)
	}
	put(t, folder, "config.json", strings.Replace(string(data), old, replacement, 1))
}

func put(t *testing.T, folder, name, content string) {
	t.Helper()
	file := filepath.Join(folder, name)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(content), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
