// Package nn declares the parameters of image and text networks and builds their graphs: linear and
// convolution layers, norms, attention, the residual attention block of transformers, the attention
// pool of CLIP's ResNet (Radford et al. 2021).
//
// A network is built in two steps. Its constructor registers every parameter in a Set under the name
// that published OpenCLIP checkpoints use, with shape, initialiser and role; nothing is allocated, so
// a 151 M parameter model is counted for free. Later its Apply method adds the layer to a Graph, once
// for every batch shape and mode.
//
// Activations are dense and row-major: tokens [B, T, W], feature maps NHWC [B, H, W, C].
package nn

import "fmt"

// Role says what a parameter is, as far as the optimiser cares.
type Role uint8

// The roles.
const (
	// Weight marks any parameter of a layer; those of fewer than two dimensions are never decayed.
	Weight Role = iota
	// Embedding marks a positional or class embedding, decayed only on request.
	Embedding
)

// A Param describes one array that gradients can train.
type Param struct {
	Name  string // the checkpoint key: visual.conv1.weight
	Shape []int
	Init  Init
	Role  Role
	// Block places the parameter on the way from input to embedding: Stem, the number of its block, counted from 1, or
	// Head.
	Block int
	// Frozen says that it is not trained: no gradient, no decay, no optimiser's state.
	Frozen bool
	// LRScale multiplies the learning rate, 1 at first.
	LRScale float64
	// Decay replaces the optimiser's weight decay; nil leaves it at that where Decayed says so, and at 0 elsewhere.
	Decay *float64
	// Start is how many steps leave it as it is, as if it were frozen, before one trains it.
	Start   int
	grouped bool     // by Set.Group
	adapter *adapter // by Set.Adapt; nil: none
}

// Trained reports whether a step trains it, step counting from 0.
func (p *Param) Trained(step int) bool { return !p.Frozen && step >= p.Start }

// Len returns the number of scalars.
func (p *Param) Len() int { return elements(p.Shape) }

// Decayed reports whether weight decay applies: to arrays of two dimensions and more; to embeddings
// only when decayEmbeddings.
func (p *Param) Decayed(decayEmbeddings bool) bool {
	return len(p.Shape) >= 2 && (p.Role != Embedding || decayEmbeddings)
}

// A Stat describes an array that is learned without gradients: a running statistic of batch normalisation.
type Stat struct {
	Name  string
	Shape []int
	Value float32 // initial value of all elements
}

// Len returns the number of scalars.
func (s *Stat) Len() int { return elements(s.Shape) }

// A Set lists the parameters and statistics of a network in the order of registration. The zero value is empty and
// ready.
type Set struct {
	params []*Param
	stats  []*Stat
	names  map[string]bool
	block  int // of what is registered now
}

// Param registers a trainable array. A name used twice panics.
func (s *Set) Param(name string, init Init, shape ...int) *Param {
	s.claim(name)
	p := &Param{Name: name, Shape: shape, Init: init, Block: s.block, LRScale: 1}
	s.params = append(s.params, p)
	return p
}

// Embedding registers a positional or class embedding.
func (s *Set) Embedding(name string, init Init, shape ...int) *Param {
	p := s.Param(name, init, shape...)
	p.Role = Embedding
	return p
}

// Stat registers a running statistic with its initial value.
func (s *Set) Stat(name string, value float32, shape ...int) *Stat {
	s.claim(name)
	t := &Stat{Name: name, Shape: shape, Value: value}
	s.stats = append(s.stats, t)
	return t
}

// Params returns the parameters in order of registration, frozen ones included.
func (s *Set) Params() []*Param { return s.params }

// Stats returns the running statistics in order of registration.
func (s *Set) Stats() []*Stat { return s.stats }

// Count adds up the scalars of all parameters.
func (s *Set) Count() int64 {
	var n int64
	for _, p := range s.params {
		n += int64(p.Len())
	}
	return n
}

func (s *Set) claim(name string) {
	if s.names[name] {
		panic(fmt.Sprintf("nn: parameter %q registered twice", name))
	}
	if s.names == nil {
		s.names = make(map[string]bool)
	}
	s.names[name] = true
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
