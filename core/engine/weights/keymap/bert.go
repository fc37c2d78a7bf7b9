package keymap

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// BERTPrefix begins the names of BERT's parameters inside tandem, as in OpenCLIP's HFTextEncoder. Beyond it they are those of
// transformers' BertModel and RobertaModel, but that query, key and value are one array (bertQKV).
const BERTPrefix = "transformer."

// bertMark ends the name of a tensor that every model of BERT's family has, and no other.
const bertMark = "embeddings.word_embeddings.weight"

// bertRoots lists what stands before the names of BertModel in models with a head; the first is OpenCLIP's.
var bertRoots = []string{BERTPrefix, "bert.", "roberta."}

// bertQKV is the middle of the names of packed projections; those of transformers end in bertParts instead.
const bertQKV = ".attention.self.qkv."

var bertParts = []string{".attention.self.query.", ".attention.self.key.", ".attention.self.value."}

// bertNorm ends layer norms' names in files that were converted from TensorFlow.
var bertNorm = [][2]string{{".LayerNorm.gamma", ".LayerNorm.weight"}, {".LayerNorm.beta", ".LayerNorm.bias"}}

var bertOwn = regexp.MustCompile(`^(embeddings\.(word|position|token_type)_embeddings\.|embeddings\.LayerNorm\.|encoder\.layer\.\d+\.|pooler\.dense\.)`)

// fromBERT translates a name of a file with a model of BERT's family; false for one that is none of the model's.
func fromBERT(name string) (meaning, bool) {
	for _, root := range bertRoots {
		name = strings.TrimPrefix(name, root)
	}
	if !bertOwn.MatchString(name) {
		return meaning{}, false
	}
	for _, n := range bertNorm {
		if start, ok := strings.CutSuffix(name, n[0]); ok {
			name = start + n[1]
		}
	}
	for i, part := range bertParts {
		if start, end, ok := strings.Cut(name, part); ok {
			return meaning{name: BERTPrefix + start + bertQKV + end, part: i}, true
		}
	}
	return whole(BERTPrefix + name), true
}

// IsBERT reports whether the file has a text tower of BERT's family.
func (k *File) IsBERT() bool { return k.bert }

// BERT renames float32 tensors of a text tower under tandem's names to those of transformers' BertModel and RobertaModel, query,
// key and value taken apart. Loaders are kept lazy. The projection's keep theirs, which AutoModel leaves out and encoders/bert
// takes; those of other towers are left out.
func BERT(tensors []weights.Tensor) ([]weights.Tensor, error) {
	var out []weights.Tensor
	for _, t := range tensors {
		if !strings.HasPrefix(t.Name, BERTPrefix) && !strings.HasPrefix(t.Name, "proj.") {
			continue
		}
		name := strings.TrimPrefix(t.Name, BERTPrefix)
		start, end, packed := strings.Cut(name, bertQKV)
		if !packed {
			t.Name = name
			out = append(out, t)
			continue
		}
		if len(t.Shape) == 0 || t.Shape[0]%3 != 0 {
			return nil, fault.New(fault.Invalid, "tensor %q is %v, want three parts", t.Name, t.Shape)
		}
		for i, part := range bertParts {
			shape := slices.Clone(t.Shape)
			shape[0] /= 3
			out = append(out, derive(t, start+part+end, shape, func(data []byte) []byte {
				n := len(data) / 3
				return data[i*n : (i+1)*n]
			}))
		}
	}
	return out, nil
}

// bert holds the settings of encoders/bert.
type bert struct {
	Kind      string  `json:"model_type"`
	VocabSize int     `json:"vocab_size"`
	Width     int     `json:"width"`
	Heads     int     `json:"heads"`
	Layers    int     `json:"layers"`
	Hidden    int     `json:"hidden"`
	Positions int     `json:"positions"`
	Types     int     `json:"types"`
	Offset    int     `json:"position_offset"`
	Eps       float64 `json:"eps"`
	Act       string  `json:"act"`
}

// bert reads the text tower's settings; false when it is none of BERT's family.
func (m Model) bert() (b bert, ok bool) {
	return b, json.Unmarshal(m.Text, &b) == nil && b.Kind != ""
}

// HasBERT reports whether the text tower is of BERT's family. Transformers keeps it as a model of its own, without an image tower.
func (m Model) HasBERT() bool { _, ok := m.bert(); return ok }

// BERT returns the config.json of transformers' BertModel or RobertaModel for the text tower, and its tokenizer.json; nil when the
// tower has a tokenizer of another kind.
func (m Model) BERT() (config, tokenizer []byte, err error) {
	b, ok := m.bert()
	if !ok {
		return nil, nil, cannotExpress("transformers' BertModel", "text encoder with the settings %s", m.Text)
	}
	var saved struct {
		Pad  int             `json:"pad"`
		File json.RawMessage `json:"file"`
	}
	if len(m.Tokenizer) > 0 {
		if err := json.Unmarshal(m.Tokenizer, &saved); err != nil {
			return nil, nil, fault.New(fault.Corrupt, "tokenizer: %w", err)
		}
	}
	class := "BertModel"
	if b.Offset > 0 { // positions begin after the padding's id
		class, saved.Pad = "RobertaModel", b.Offset-1
		if b.Kind == "bert" {
			b.Kind = "roberta"
		}
	}
	config, err = marshalIndented(map[string]any{
		"architectures": []string{class}, "model_type": b.Kind, "torch_dtype": "float32", "vocab_size": b.VocabSize, "hidden_size": b.Width,
		"num_hidden_layers": b.Layers, "num_attention_heads": b.Heads, "intermediate_size": b.Hidden, "hidden_act": b.Act, "layer_norm_eps": b.Eps,
		"max_position_embeddings": b.Positions, "type_vocab_size": b.Types, "pad_token_id": saved.Pad, "position_embedding_type": "absolute"})
	return config, saved.File, err
}
