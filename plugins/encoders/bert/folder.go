package main

import (
	"encoding/json"
	"path/filepath"
	"slices"

	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/media/token"
)

// maxConfig bounds the size of a folder's JSON files.
const maxConfig = 8 << 20

// published holds what is read of a config.json, with the defaults of transformers' BertConfig and RobertaConfig.
type published struct {
	Kind       string  `json:"model_type"`
	VocabSize  int     `json:"vocab_size"`
	Width      int     `json:"hidden_size"`
	Layers     int     `json:"num_hidden_layers"`
	Heads      int     `json:"num_attention_heads"`
	Hidden     int     `json:"intermediate_size"`
	Act        string  `json:"hidden_act"`
	Eps        float64 `json:"layer_norm_eps"`
	Positions  int     `json:"max_position_embeddings"`
	Types      int     `json:"type_vocab_size"`
	Pad        int     `json:"pad_token_id"`
	Positional string  `json:"position_embedding_type"`
	Decoder    bool    `json:"is_decoder"`
}

// robertas lists the kinds of model whose positions begin after the padding's id.
var robertas = []string{"roberta", "xlm-roberta", "camembert"}

// readFolder reads the sizes of a published model. A kind of model that is none of BERT's family is fault.Invalid.
func readFolder(folder string) (a architecture, err error) {
	file := filepath.Join(folder, "config.json")
	refuse := func(format string, args ...any) (architecture, error) {
		return a, fault.New(fault.Invalid, format, args...).WithPath("with.folder").WithFile(file, 0, 0)
	}
	var kind struct {
		Kind string `json:"model_type"`
	}
	if err := readJSON(file, &kind); err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return a, fault.New(fault.NotFound, "%w", err).WithPath("with.folder").WithFile(file, 0, 0).
				WithHint("the folder has to hold config.json, model.safetensors and tokenizer.json; it is needed as long as its runs are used, because they keep the weights and the tokenizer but not its sizes")
		}
		return a, err
	}
	p := published{VocabSize: 30522, Width: 768, Layers: 12, Heads: 12, Hidden: 3072, Act: "gelu", Eps: 1e-12, Positions: 512, Types: 2}
	roberta := slices.Contains(robertas, kind.Kind)
	if roberta {
		p.VocabSize, p.Pad = 50265, 1
	}
	if err := readJSON(file, &p); err != nil {
		return a, err
	}
	switch {
	case kind.Kind != "bert" && !roberta:
		return refuse("model_type is %q, which this encoder does not compute: it knows bert (MiniLM too) and %v", kind.Kind, robertas)
	case p.Positional != "" && p.Positional != "absolute":
		return refuse("position_embedding_type is %q, which this encoder does not compute", p.Positional)
	case p.Decoder:
		return refuse("the model is a decoder (is_decoder), which this encoder does not compute")
	case !slices.Contains([]string{"gelu", "relu", "quick_gelu"}, p.Act):
		return refuse("hidden_act is %q, which this encoder does not compute: it knows gelu, relu and quick_gelu", p.Act)
	case min(p.VocabSize, p.Width, p.Layers, p.Heads, p.Hidden, p.Positions) < 1 || p.Types < 0 || p.Pad < 0 || !(p.Eps > 0):
		return refuse("a size is not positive")
	}
	a = architecture{VocabSize: p.VocabSize, Width: p.Width, Heads: p.Heads, Layers: p.Layers, Hidden: p.Hidden, Positions: p.Positions,
		Types: p.Types, Eps: p.Eps, Act: p.Act, Kind: p.Kind, Pool: "mean"}
	if roberta {
		a.Offset = p.Pad + 1
	}
	a.context = a.Positions - a.Offset
	return a, a.readSentence(folder)
}

// readSentence reads what sentence-transformers says beside a model: the most tokens of a text, and the pooling. A
// pooling that this encoder does not compute is fault.Invalid; with.pool cannot overrule it unnoticed.
func (a *architecture) readSentence(folder string) error {
	var length struct {
		Most int `json:"max_seq_length"`
	}
	if err := readJSON(filepath.Join(folder, "sentence_bert_config.json"), &length); err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if length.Most > 2 {
		a.context = min(a.context, length.Most)
	}
	var pooling struct {
		First bool `json:"pooling_mode_cls_token"`
		Mean  bool `json:"pooling_mode_mean_tokens"`
	}
	file := filepath.Join(folder, "1_Pooling", "config.json")
	switch err := readJSON(file, &pooling); {
	case fault.KindOf(err) == fault.NotFound:
		return nil
	case err != nil:
		return err
	case pooling.First == pooling.Mean:
		return fault.New(fault.Invalid, "a pooling that this encoder does not compute: it knows the mean of the tokens and the first").
			WithPath("with.folder").WithFile(file, 0, 0).WithHint("without the folder 1_Pooling, with.pool says how tokens become one vector")
	case pooling.First:
		a.Pool = "cls"
	}
	return nil
}

// readJSON reads a JSON file into v.
func readJSON(file string, v any) error {
	data, err := files.Read(file, maxConfig)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fault.New(fault.Corrupt, "%w", err).WithFile(file, 0, 0)
	}
	return nil
}

// readTokenizer reads the folder's tokenizer.json.
func readTokenizer(folder string) (token.Tokenizer, error) {
	t, err := token.ReadHF(filepath.Join(folder, "tokenizer.json"))
	if fault.KindOf(err) == fault.NotFound {
		return nil, fault.New(fault.NotFound, "%w", err).WithPath("with.folder").
			WithHint("transformers writes it: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)")
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}
