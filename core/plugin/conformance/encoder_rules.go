package conformance

// Needs of rules.
var (
	configured = []string{"configure"}
	embeds     = []string{"configure", "embedding"}
	repeats    = []string{"configure", "embedding", "determinism"}
)

var encoderRules = []rule[encoderCase]{
	{"configure", "Configure accepts the options.", "pass options that fit with --with", nil, encoderCase.configure},
	{"info", "What Configure returns is complete, and a second Configure is refused.", "fill every field of the answer; refuse a second Configure as a conflict", configured, encoderCase.info},
	{"unknown option", "An option that does not exist is refused as invalid.", "decode the with block strictly", nil, encoderCase.unknownOption},
	{"bad configuration", "A configuration that does not fit is refused as invalid.", "check embed_dim and the optimizer's name in Configure", nil, encoderCase.badConfig},
	{"embedding", "Forward returns finite f32 [B, embed_dim] in every mode, and a ticket in mode Train alone.", "return one f32 row of embed_dim numbers a sample", configured, encoderCase.embedding},
	{"unit rows", "Every row of an embedding has the norm 1.", "divide each row by its L2 norm, also in mode Eval", embeds, encoderCase.unitRows},
	{inputsRule, "Pictures and gradients of a request are not written to.", "copy what you change", embeds, encoderCase.inputs},
	{"determinism", "One seed, one configuration and the same calls give the same bits; another seed gives others.", "draw random numbers from the seed and the step alone, and none in mode Eval", embeds, encoderCase.determinism},
	{"permutation", "A sample's embedding in mode Eval does not depend on its place in the batch.", "use running statistics in mode Eval, and keep rows apart", repeats, encoderCase.permutation},
	{"embed equals train", "Mode Embed gives the bits of mode Train and changes nothing.", "compute both modes alike; update running statistics in mode Train only", repeats, encoderCase.embedEqualsTrain},
	{"gradient", "Backward's gradient is that of finite differences, and GradNorm is the square of its norm.", "compare Backward with the derivative of Forward, the normalisation of the rows included; GradNorm is the sum of squares, without a root", repeats, encoderCase.gradient},
	{"tokens", "ForwardTokens returns f32 [B, T, embed_dim] with rows of the norm 1 up to each sample's length, zeros after them, and Forward's embedding.", "normalise each token; set what follows a sample's tokens to zero", embeds, encoderCase.tokens},
	{"token gradient", "BackwardTokens' gradient is that of finite differences; rows after a sample's tokens do not count.", "differentiate both outputs, the normalisation of the tokens included", append(repeats[:len(repeats):len(repeats)], "tokens"), encoderCase.tokenGradient},
	{"gradients add up", "Backward adds to the gradients of earlier calls; several tickets may be open.", "add gradients instead of replacing them; keep activations for each ticket", embeds, encoderCase.accumulation},
	{"step", "Step multiplies gradients by scale, moves the parameters and sets the gradients to zero.", "apply scale before the optimizer, and clear the gradients", repeats, encoderCase.step},
	{"parameter groups", "A group's rate is that of its parameters, and a group that matches nothing is refused as invalid.", "multiply the learning rate by lr_scale; match names with globs", append(repeats[:len(repeats):len(repeats)], "step"), encoderCase.groups},
	{"average", "The average is the weights after the first step, then decays towards them, and serves modes Eval and Raw alone.", "copy the weights at the first step; average ← decay·average + (1 − decay)·weights", append(repeats[:len(repeats):len(repeats)], "step"), encoderCase.average},
	{"rates", "The first group that matches a parameter counts; layer decay and a group's weight decay act; a glob that matches nothing is named by its place.", "look for the first matching group; name optimizer.groups[i].params", append(repeats[:len(repeats):len(repeats)], "parameter groups"), encoderCase.rates},
	{"average kept", "Training is the same with an average and without, and Load goes on with the average that Save wrote.", "keep the average beside the parameters, and save it as ema. and their names", append(repeats[:len(repeats):len(repeats)], "average"), encoderCase.averageKept},
	{"late start", "A group stays as it is before its start; its first step is that of an encoder which begins there.", "skip parameters and moments for start steps; let bias correction count from there", append(repeats[:len(repeats):len(repeats)], "parameter groups"), encoderCase.lateStart},
	{"adapters", "With low-rank adapters the encoder begins as without, trains them alone, and refuses those that fit no matrix.", "start B at zero; freeze everything else; check rank and targets in Configure", append(repeats[:len(repeats):len(repeats)], "step"), encoderCase.adapters},
	{"buckets", "The buckets of gradients are the gradient, given out once a backward pass has completed it; a step with them is the step without.", "list every trained gradient once; wait for open tickets; let Step use what it is given and clear all", append(repeats[:len(repeats):len(repeats)], "step"), encoderCase.buckets},
	{"tickets", "A ticket serves for one Backward or Discard; afterwards it is refused as a conflict.", "forget the ticket in Backward and Discard; Discard ignores unknown tickets", embeds, encoderCase.tickets},
	{"frozen", "Frozen as a whole, the encoder gives no ticket and no gradient and does not change.", "with freeze.all there is nothing to train: ticket 0, GradNorm 0", repeats, encoderCase.frozen},
	{"bad shapes", "Inputs of another shape or kind are refused as invalid.", "check shape and dtype before you compute", embeds, encoderCase.badShapes},
	{"non-finite gradient", "A gradient with a NaN shows in GradNorm.", "do not replace NaN by numbers", embeds, encoderCase.nonFinite},
	{"checkpoint file", "Save writes a safetensors file with at least as many numbers as parameters.", "save every parameter; count parameters as what is saved", embeds, encoderCase.checkpointFile},
	{"save and load", "After Load, embeddings and later steps have the bits of the instance that saved.", "save the optimizer's state and running statistics too", append(repeats, "checkpoint file"), encoderCase.saveLoad},
	{"load refuses", "A damaged file is refused as corrupt, and the instance stays as it was.", "check the whole file before you change anything", append(repeats, "checkpoint file"), encoderCase.loadRefuses},
	{"cancellation", "A cancelled call ends soon and changes nothing.", "look at the context between layers", repeats, encoderCase.cancellation},
	{"close", "Close works, also twice and without Configure.", "let Close do nothing the second time", configured, encoderCase.close},
}
