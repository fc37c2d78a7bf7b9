package weights

import "strings"

// The metadata "format" of tandem's checkpoints.
const (
	EncoderFormat = "tandem encoder 1"
	LossFormat    = "tandem loss 1"
)

// Names of tensors in tandem's checkpoints that published weights do not have.
const (
	SlotPrefix      = "optim."    // of the optimiser's state: optim.m.visual.proj
	AveragePrefix   = "ema."      // of the averaged parameters: ema.visual.proj
	TokenizerTensor = "tokenizer" // the bytes of the tokenizer's JSON
	SuffixA         = ".lora_A"   // of the matrices of an adapter: visual.proj.lora_A
	SuffixB         = ".lora_B"
)

// IsCheckpoint reports whether a file's metadata "format" is one of tandem's.
func IsCheckpoint(format string) bool { return strings.HasPrefix(format, "tandem ") }
