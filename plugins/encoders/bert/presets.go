package main

// An architecture holds what the parameters of a model depend on. Its JSON is a checkpoint's: those of another are refused.
type architecture struct {
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
	Pool      string  `json:"pool"`
	Proj      string  `json:"proj"`
	// Kind is transformers' model_type, which exports name.
	Kind string `json:"model_type"`

	context int // most tokens of a text
}

// presets holds the sizes of published models by their short names: sentence-transformers/all-MiniLM-L6-v2 and
// L12-v2 (Wang et al. 2020), bert-base-uncased and bert-large-uncased (Devlin et al. 2019), roberta-base (Liu et al. 2019).
var presets = map[string]architecture{
	"":             miniLM,
	"minilm-l6":    miniLM,
	"bert-base":    {VocabSize: 30522, Width: 768, Heads: 12, Layers: 12, Hidden: 3072, Positions: 512, Types: 2, Eps: 1e-12, Act: "gelu", Kind: "bert"},
	"bert-large":   {VocabSize: 30522, Width: 1024, Heads: 16, Layers: 24, Hidden: 4096, Positions: 512, Types: 2, Eps: 1e-12, Act: "gelu", Kind: "bert"},
	"minilm-l12":   {VocabSize: 30522, Width: 384, Heads: 12, Layers: 12, Hidden: 1536, Positions: 512, Types: 2, Eps: 1e-12, Act: "gelu", Kind: "bert"},
	"roberta-base": {VocabSize: 50265, Width: 768, Heads: 12, Layers: 12, Hidden: 3072, Positions: 514, Types: 1, Offset: 2, Eps: 1e-5, Act: "gelu", Kind: "roberta"},
}

var miniLM = architecture{VocabSize: 30522, Width: 384, Heads: 12, Layers: 6, Hidden: 1536, Positions: 512, Types: 2, Eps: 1e-12, Act: "gelu", Kind: "bert"}
