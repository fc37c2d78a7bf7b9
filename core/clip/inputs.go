package clip

import (
	"slices"

	"tandem/core/tensor"
)

// The inputs that a loss may name in Descriptor.Inputs, beside image and text. B is the batch size, D the width of
// the embedding space.
const (
	// InputTextNegatives holds f32 [B·K, D]: embeddings of K further texts of each sample. Row b·K+k belongs to
	// sample b. K is LossConfig.Negatives. The dataset needs CapNegatives.
	InputTextNegatives = "text_negatives"
	// InputImageView2 holds f32 [B, D]: the embedding of a second augmented picture of each sample. The dataset
	// needs CapView2.
	InputImageView2 = "image_view2"
	// InputTeacherImage and InputTeacherText hold f32 [B, Dt]: what the spec's teacher says of the same pictures and
	// captions. They have no gradient.
	InputTeacherImage = "teacher_image"
	InputTeacherText  = "teacher_text"
	// InputGroups holds i32 [B]: samples with equal numbers are positives of each other, because the dataset says so
	// (Batch.Groups) or because their captions are equal. Numbers count from 0 in the order in which groups appear in
	// the batch. They have no gradient.
	InputGroups = "groups"
	// InputImageTokens and InputTextTokens hold f32 [B, T, D] with lengths: TokenOutput.Tokens of both encoders, which
	// need OutputTokens.
	InputImageTokens = "image_tokens"
	InputTextTokens  = "text_tokens"
)

// LossInputs lists the inputs in the order in which they are documented.
var LossInputs = []string{
	InputTextNegatives, InputImageView2, InputTeacherImage, InputTeacherText, InputGroups, InputImageTokens, InputTextTokens,
}

// DifferentiableInput reports whether a loss answers with a gradient of the input.
func DifferentiableInput(name string) bool {
	return slices.Contains([]string{InputTextNegatives, InputImageView2, InputImageTokens, InputTextTokens}, name)
}

// TokenInput reports whether the input has lengths.
func TokenInput(name string) bool { return name == InputImageTokens || name == InputTextTokens }

// LossInput holds one input of a loss beside the embeddings.
type LossInput struct {
	Value   *tensor.Tensor
	Lengths *tensor.Tensor // i32 [B], of inputs with TokenInput; else nil
	// Into, when not nil, has the shape of Value. The loss may write the input's gradient there and return it.
	Into *tensor.Tensor
}
