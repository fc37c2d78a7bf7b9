package main

import (
	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
)

// Config holds the with block of a spec. Sizes that are 0 are the preset's.
type Config struct {
	Folder     string `with:"folder" type:"path" help:"folder of a published model: config.json, model.safetensors and tokenizer.json as transformers saves them; 'make minilm' fetches MiniLM to ~/.local/share/tandem/minilm; left out: random weights of the sizes below"`
	Pretrained bool   `with:"pretrained" help:"begin with the folder's weights; false: its sizes and tokenizer with random weights"`
	Preset     string `with:"preset" enum:"minilm-l6,minilm-l12,bert-base,bert-large,roberta-base" help:"sizes of a published model, without its weights, for those that are left out; left out: minilm-l6"`

	VocabSize     int     `with:"vocab_size" min:"258" max:"16777216" help:"rows of the token embedding; left out: the preset's"`
	Width         int     `with:"width" min:"1" max:"1048576" help:"channels of a token; a multiple of heads; left out: the preset's"`
	Heads         int     `with:"heads" min:"1" help:"attention heads; left out: the preset's"`
	Layers        int     `with:"layers" min:"1" max:"1024" help:"blocks; left out: the preset's"`
	Hidden        int     `with:"hidden" min:"1" help:"hidden width of the MLP; left out: four times the width"`
	Positions     int     `with:"positions" min:"4" max:"1048576" help:"rows of the position embedding, position_offset included; left out: the preset's"`
	Types         int     `with:"types" max:"1024" help:"rows of the token type embedding, of which the first is used; left out: the preset's"`
	Offset        int     `with:"position_offset" max:"1024" help:"row of the first token's position: 2 in RoBERTa, else 0; left out: the preset's"`
	Eps           float64 `with:"eps" max:"0.1" help:"epsilon of the layer norms; left out: the preset's"`
	Act           string  `with:"act" enum:"gelu,relu,quick_gelu" help:"activation of the MLP; left out: gelu, the exact one"`
	ContextLength int     `with:"context_length" min:"3" max:"1048576" help:"most tokens of a text, those around it included; longer ones are cut; left out: the folder's (max_seq_length of sentence-transformers, else every position), without a folder every position"`

	Pool string `with:"pool" enum:"mean,cls,pooler" help:"how tokens become one vector: their mean, the first, or the first through BERT's pooler (dense and tanh); left out: what the folder's 1_Pooling says, else mean"`
	Proj string `with:"proj" enum:"auto,none,linear,mlp" help:"projection to the embedding, as OpenCLIP's hf_proj_type: none, linear without bias, mlp with GELU; auto: none where the widths agree, else linear"`

	Tokenizer     string `with:"tokenizer" enum:"bpe,clip,byte,hf" help:"without a folder, which brings its own: byte pairs learned from the training captions, CLIP's vocabulary, bytes, or a tokenizer.json"`
	TokenizerFile string `with:"tokenizer_file" type:"path" help:"the tokenizer.json of tokenizer hf"`
}

// Defaults leaves sizes to the preset or the folder.
var Defaults = Config{Pretrained: true, Proj: "auto"}

// Plugin describes the encoder to the runner.
var Plugin = sdk.Encoder{
	Name: "bert", Version: "1.0.0", Modality: clip.Text,
	Summary:      "BERT, MiniLM and RoBERTa with their published weights and tokenizers, or of any size at random",
	Capabilities: []string{clip.CapVocabulary, clip.CapFreeze, clip.CapGroups, clip.CapStart, clip.CapLoRA, clip.CapONNX, clip.CapEMA, clip.CapBuckets, clip.CapNCCL, clip.CapPretrained},
	Outputs:      []string{clip.OutputTokens},
	Config:       Defaults,
	New:          func() clip.Encoder { return tower.Text(build) },
}

// build makes the model of a with block.
func build(c clip.EncoderConfig) (tower.TextModel, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	a, err := cfg.architecture()
	if err != nil {
		return nil, err
	}
	if a.Proj = cfg.Proj; a.Proj == "auto" {
		a.Proj = "linear"
		if a.Width == c.EmbedDim {
			a.Proj = "none"
		}
	}
	if err := a.check(c.EmbedDim); err != nil {
		return nil, err
	}
	return newModel(cfg, a, c.EmbedDim), nil
}

// architecture finds the sizes that a with block means.
func (c Config) architecture() (a architecture, err error) {
	if c.Folder != "" {
		if err := c.checkFolder(); err != nil {
			return a, err
		}
		if a, err = readFolder(c.Folder); err != nil {
			return a, err
		}
	} else {
		if err := c.checkTokenizer(); err != nil {
			return a, err
		}
		a = c.ofPreset()
	}
	if c.Pool != "" {
		a.Pool = c.Pool
	}
	if c.ContextLength > 0 {
		if most := a.Positions - a.Offset; c.ContextLength > most {
			return a, fault.New(fault.Invalid, "%d, but the model has positions for %d tokens", c.ContextLength, most).
				WithPath("with.context_length").WithHint("context_length: %d", most)
		}
		a.context = c.ContextLength
	}
	return a, nil
}

// ofPreset fills up the sizes given with those of a preset.
func (c Config) ofPreset() architecture {
	a := presets[c.Preset]
	if c.Width > 0 {
		a.Width, a.Hidden = c.Width, 4*c.Width
	}
	for _, s := range []struct {
		given int
		to    *int
	}{{c.VocabSize, &a.VocabSize}, {c.Heads, &a.Heads}, {c.Layers, &a.Layers}, {c.Hidden, &a.Hidden}, {c.Positions, &a.Positions},
		{c.Types, &a.Types}, {c.Offset, &a.Offset}} {
		if s.given > 0 {
			*s.to = s.given
		}
	}
	if c.Eps > 0 {
		a.Eps = c.Eps
	}
	if c.Act != "" {
		a.Act = c.Act
	}
	a.Pool, a.context = "mean", a.Positions-a.Offset
	return a
}

// checkFolder refuses what the folder says itself.
func (c Config) checkFolder() error {
	for _, s := range []struct {
		key   string
		given bool
	}{{"preset", c.Preset != ""}, {"vocab_size", c.VocabSize != 0}, {"width", c.Width != 0}, {"heads", c.Heads != 0}, {"layers", c.Layers != 0},
		{"hidden", c.Hidden != 0}, {"positions", c.Positions != 0}, {"types", c.Types != 0}, {"position_offset", c.Offset != 0}, {"eps", c.Eps != 0},
		{"act", c.Act != ""}, {"tokenizer", c.Tokenizer != ""}, {"tokenizer_file", c.TokenizerFile != ""}} {
		if s.given {
			return fault.New(fault.Invalid, "is what the folder's own files say").WithPath("with." + s.key).
				WithHint("leave it out, or leave folder out for random weights of any size")
		}
	}
	return nil
}

// checkTokenizer finds what the schema cannot say of a tokenizer without a folder.
func (c Config) checkTokenizer() error {
	switch {
	case c.Tokenizer == "hf" && c.TokenizerFile == "":
		return fault.New(fault.Invalid, "is required by tokenizer hf").WithPath("with.tokenizer_file").
			WithHint("the path of a tokenizer.json, as models of Hugging Face have")
	case c.Tokenizer != "hf" && c.TokenizerFile != "":
		return fault.New(fault.Invalid, "is of use to tokenizer hf only").WithPath("with.tokenizer_file").WithHint("tokenizer: hf")
	}
	return nil
}

// check finds sizes that fit no network.
func (a architecture) check(embedDim int) error {
	switch {
	case a.Width%a.Heads != 0:
		return fault.New(fault.Invalid, "%d is no multiple of heads %d", a.Width, a.Heads).
			WithPath("with.width").WithHint("every head has width / heads channels")
	case a.Positions-a.Offset < 3:
		return fault.New(fault.Invalid, "%d leave no place for a text after position_offset %d", a.Positions, a.Offset).
			WithPath("with.positions").WithHint("at least %d", a.Offset+3)
	case a.Proj == "none" && a.Width != embedDim:
		return fault.New(fault.Invalid, "is none, but the model's width %d is not embed_dim %d", a.Width, embedDim).
			WithPath("with.proj").WithHint("proj: linear, or embed_dim: %d", a.Width)
	}
	return nil
}
