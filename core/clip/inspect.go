package clip

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Encoders and losses may implement the interfaces of this file. All of them are optional.

// Meter counts the work of an encoder or a loss.
type Meter interface {
	// Work returns the number of floating-point operations that Forward, Backward and Compute have done so
	// far in matrix products, convolutions and attention. A multiply-add counts as 2. The count is of what
	// was computed: padding of short captions that is left out does not count. It never decreases.
	Work() float64
}

// Profiler records what an encoder or a loss computes, kernel by kernel.
type Profiler interface {
	// SetProfile starts or stops recording. The results are the same bits with and without.
	SetProfile(on bool)
	// KernelRuns returns what was recorded since the last call, ordered by start.
	KernelRuns() []KernelRun
}

// KernelRun describes one run of a kernel.
type KernelRun struct {
	Op       string // linear, attention.back
	Scope    string // the layer, named as its parameters are: visual.transformer.resblocks.3.mlp
	Backward bool
	FLOPs    float64 // counted as Meter does
	Bytes    float64 // read and written; each array counts once
	Start    time.Time
	Duration time.Duration
}

// TokenCounter counts the tokens of texts for a text encoder.
type TokenCounter interface {
	// CountTokens returns the number of tokens of each uncut text, start and end tokens included, and limit,
	// the number of tokens that the encoder takes; it cuts longer texts. A text of two tokens is empty.
	// Before Configure, c holds the configuration to count with, which does not replace Configure; after
	// it, c is nil. An encoder that cannot tell returns fault.Unavailable.
	CountTokens(ctx context.Context, c *EncoderConfig, texts []string) (tokens []int, limit int, err error)
}

// MemoryReporter tells what the memory of an encoder or a loss is used for.
type MemoryReporter interface {
	// Memory returns what is allocated now, by purpose: parameters, gradients, optimizer, activations,
	// workspace, packed weights, …
	Memory() []MemoryPart
}

// Planner predicts how much of its device's memory a configuration will take. It serves devices with memory
// of their own, which several processes share.
type Planner interface {
	// Plan may be called before Configure. It keeps nothing allocated. Its errors are those of Configure.
	Plan(context.Context, PlanRequest) (Plan, error)
}

// PlanRequest holds a configuration (either Encoder or Loss) and how it will be used.
type PlanRequest struct {
	Encoder    *EncoderConfig // without Captions
	Loss       *LossConfig
	Batch      int  // samples of a Forward or Compute in training
	EvalBatch  int  // samples of a Forward or Compute in evaluation
	Accumulate bool // whether several Backwards come before a Step
	Tokens     bool // whether training takes the tokens of a TokenEncoder too
	Parts      int  // parts of so many samples that a Forward in training has (ForwardRequest.Parts); 0 and 1: it has none
}

// Plan tells the memory of a device and how much of it a plugin will need, in bytes.
type Plan struct {
	Device      string // that the plugin will compute on: cuda:0, cpu
	Free, Total int64  // of the device; 0 when it has no memory of its own, or when nobody knows
	// Parts holds the most that training steps and evaluations take, by purpose, with MemoryReporter's names.
	Parts []MemoryPart
	// Least is what a step takes at least, even with the shortest captions.
	Least int64
}

// Needed returns the sum of the parts.
func (p Plan) Needed() (sum int64) {
	for _, part := range p.Parts {
		sum += part.Bytes
	}
	return sum
}

// MemoryPart tells how much memory one purpose takes.
type MemoryPart struct {
	Name  string `json:"part"`
	Bytes int64  `json:"bytes"`
}

// FormatMemory writes parts for people: a title, then a line for each part. It returns "" when every part
// is empty.
func FormatMemory(title string, parts []MemoryPart) string {
	var b strings.Builder
	for _, p := range parts {
		if p.Bytes > 0 {
			fmt.Fprintf(&b, "  %-16s %10s\n", p.Name, FormatBytes(p.Bytes))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return title + ":\n" + b.String()
}

// FormatBytes writes a number of bytes for people: 1.5 GiB, 20.0 MiB, 512 B.
func FormatBytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
