package keymap

import (
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
// key and value taken apart. Loaders are kept lazy. Tensors of other names keep theirs.
func BERT(tensors []weights.Tensor) ([]weights.Tensor, error) {
	var out []weights.Tensor
	for _, t := range tensors {
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
