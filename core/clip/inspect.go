package clip

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Meter is an encoder or a loss that counts its work. It is optional.
type Meter interface {
	// Work is the floating-point operations done so far in matrix products, convolutions and attention
	// by Forward, Backward and Compute, a multiply-add counted as 2: what was really computed, for
	// captions no more than their length. It only grows.
	Work() float64
}

// Profiler is an encoder or a loss that tells what it computes, kernel by kernel. It is optional.
type Profiler interface {
	// SetProfile begins and ends noting. Results are the same bits with and without.
	SetProfile(on bool)
	// Events are those noted since the last call, in the order of their start.
	Events() []Event
}

// Event is one kernel's run.
type Event struct {
	Op       string // linear, attention.back
	Scope    string // the layer, as parameters are named: visual.transformer.resblocks.3.mlp
	Backward bool
	FLOPs    float64 // as Meter counts them
	Bytes    float64 // read and written, each array once
	Start    time.Time
	Duration time.Duration
}

// TokenCounter is a text encoder that says how long texts are for its tokenizer. It is optional.
type TokenCounter interface {
	// CountTokens gives the tokens of each text whole, its beginning and its end included, and how many tokens
	// the encoder takes: texts of more are cut. A text of two tokens says nothing. c is given before Configure,
	// which it does not replace; nil afterwards. fault.Unavailable says that the encoder does not know.
	CountTokens(ctx context.Context, c *EncoderConfig, texts []string) (tokens []int, limit int, err error)
}

// MemoryReporter is implemented by an encoder or a loss that says what its memory is for. It is optional.
type MemoryReporter interface {
	// Memory reports what is allocated now, by purpose: parameters, gradients, optimizer, activations,
	// workspace, packed weights, …
	Memory() []MemoryPart
}

// Planner is implemented by an encoder or a loss that says in advance what a configuration will take of its
// device's memory. It is optional, and for devices with memory of their own, which several processes share.
type Planner interface {
	// Plan may be called before Configure, and allocates nothing that stays. Errors are those of
	// Configure.
	Plan(context.Context, PlanRequest) (Plan, error)
}

// PlanRequest holds a configuration, one of the two, and how it will be used.
type PlanRequest struct {
	Encoder    *EncoderConfig // Captions are left out
	Loss       *LossConfig
	Batch      int  // samples of a Forward or Compute in training
	EvalBatch  int  // in evaluations
	Accumulate bool // several Backwards come before a Step
}

// Plan describes the memory of a device and how much of it a plugin will need, in bytes.
type Plan struct {
	Device      string // where it will compute: cuda:0, cpu
	Free, Total int64  // of the device; 0: it has no memory of its own, or nobody knows
	// Parts are the most that training steps and evaluations take, by purpose as MemoryReporter names
	// them; Least is what a step takes in any case, captions however short.
	Parts []MemoryPart
	Least int64
}

// Needed adds up the parts.
func (p Plan) Needed() (sum int64) {
	for _, part := range p.Parts {
		sum += part.Bytes
	}
	return sum
}

// MemoryPart is memory of one purpose.
type MemoryPart struct {
	Name  string `json:"part"`
	Bytes int64  `json:"bytes"`
}

// MemoryTable is parts for people, a line each under a title; "" when there are none.
func MemoryTable(title string, parts []MemoryPart) string {
	var b strings.Builder
	for _, p := range parts {
		if p.Bytes > 0 {
			fmt.Fprintf(&b, "  %-16s %10s\n", p.Name, Bytes(p.Bytes))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return title + ":\n" + b.String()
}

// Bytes is a number of bytes for people: 1.5 GiB, 20.0 MiB, 512 B.
func Bytes(n int64) string {
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
