package nn

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sync"
)

// Init describes a distribution of initial values. The zero value gives zeros.
type Init struct {
	kind  initKind
	value float64 // the constant, the standard deviation, or half the width of the uniform range
}

type initKind uint8

const (
	initConst initKind = iota
	initNormal
	initUniform
	initXavier
	initFanIn
)

// Zeros, Ones fill with a constant.
var (
	Zeros = Init{}
	Ones  = Init{value: 1}
)

// Constant fills with v.
func Constant(v float64) Init { return Init{value: v} }

// Normal draws from N(0, std²).
func Normal(std float64) Init { return Init{initNormal, std} }

// Uniform draws from U(−a, a).
func Uniform(a float64) Init { return Init{initUniform, a} }

// XavierUniform draws from U(±√(6/(fan_in + fan_out))) (Glorot & Bengio 2010), the fans being those
// of a weight [out, in, …].
var XavierUniform = Init{kind: initXavier}

// FanIn draws from U(±1/√fan_in), fan_in being that of a weight [out, in, …]: PyTorch's default for
// linear and convolution weights (kaiming_uniform with a = √5).
var FanIn = Init{kind: initFanIn}

// BiasOf returns PyTorch's default for the bias of a layer with fanIn inputs per output: U(±1/√fanIn).
func BiasOf(fanIn int) Init { return Uniform(1 / math.Sqrt(float64(fanIn))) }

// chunk limits the values drawn from one random stream. Streams are numbered within an array, so that chunks may be
// filled in any order or at once.
const chunk = 1 << 16

// FillStep divides the number of the first element of every Fill.
const FillStep = chunk

// Fill writes the initial values of elements from, from + 1, … of an array of this name and shape. They
// are a function of seed, name, shape and distribution alone: neither other parameters nor the number of
// threads matter, nor in how many pieces an array is filled.
func (in Init) Fill(out []float32, from int, seed uint64, name string, shape []int, threads int) {
	if from%FillStep != 0 || from+len(out) > elements(shape) {
		panic("nn: initialising elements that are not of the array")
	}
	draw := in.sampler(shape)
	if draw == nil {
		for i := range out {
			out[i] = float32(in.value)
		}
		return
	}
	key := streamKey(seed, "init", name)
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(threads, 1))
	for c := 0; c*chunk < len(out); c++ {
		part := out[c*chunk : min((c+1)*chunk, len(out))]
		slots <- struct{}{}
		wg.Go(func() {
			r := rand.New(rand.NewPCG(key[0], key[1]^uint64(from/chunk+c)))
			for i := range part {
				part[i] = float32(draw(r))
			}
			<-slots
		})
	}
	wg.Wait()
}

// Std returns the standard deviation of the distribution for an array of this shape.
func (in Init) Std(shape []int) float64 {
	switch in.kind {
	case initNormal:
		return in.value
	case initConst:
		return 0
	}
	return in.bound(shape) / math.Sqrt(3)
}

// sampler returns a function that draws one value, nil for a constant.
func (in Init) sampler(shape []int) func(*rand.Rand) float64 {
	switch in.kind {
	case initConst:
		return nil
	case initNormal:
		return func(r *rand.Rand) float64 { return r.NormFloat64() * in.value }
	}
	bound := in.bound(shape)
	return func(r *rand.Rand) float64 { return (2*r.Float64() - 1) * bound }
}

// bound returns half the width of a uniform distribution.
func (in Init) bound(shape []int) float64 {
	switch in.kind {
	case initXavier:
		field := elements(shape[2:])
		return math.Sqrt(6 / float64((shape[0]+shape[1])*field))
	case initFanIn:
		return 1 / math.Sqrt(float64(elements(shape[1:])))
	}
	return in.value
}

// Stream returns the random stream of a purpose ("patch dropout") at a position, for a seed. Equal arguments give
// equal draws; different ones independent draws.
func Stream(seed uint64, purpose string, position ...int) *rand.Rand {
	key := streamKey(seed, purpose, "", position...)
	return rand.New(rand.NewPCG(key[0], key[1]))
}

// streamKey hashes what identifies a stream; the low 32 bits of the second word are free for a
// counter.
func streamKey(seed uint64, purpose, name string, position ...int) [2]uint64 {
	h := sha256.New()
	b := binary.LittleEndian.AppendUint64(nil, seed)
	b = append(append(b, purpose...), 0)
	b = append(append(b, name...), 0)
	for _, p := range position {
		b = binary.LittleEndian.AppendUint64(b, uint64(p))
	}
	h.Write(b)
	sum := h.Sum(nil)
	return [2]uint64{binary.LittleEndian.Uint64(sum), binary.LittleEndian.Uint64(sum[8:]) &^ math.MaxUint32}
}
