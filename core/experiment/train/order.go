package train

import (
	"math/bits"
	"math/rand/v2"
)

// Order returns the order in which an epoch visits the samples 0 … n-1. It is a pure function of its arguments,
// and the identity when shuffle is false.
func Order(n int, seed uint64, epoch int, shuffle bool) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if shuffle {
		const purpose = 0x6f72646572 // "order": keeps this stream apart from others of the same seed
		rng := rand.New(rand.NewPCG(seed^purpose, uint64(epoch)))
		rng.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	return order
}

// maxShuffled limits how many samples have their order made at once: that of more would take memory and time
// before the first step, whether there are so many or a dataset only says so.
const maxShuffled = 1 << 27

// sparse computes the order of a set longer than that, place by place: a permutation of the numbers below a
// power of four by four rounds of a Feistel network, followed until it comes to a sample (Black and Rogaway
// 2002).
type sparse struct {
	n    uint64
	half uint // bits
	keys [4]uint64
}

func newSparse(n int, seed uint64, epoch int) *sparse {
	s := &sparse{n: uint64(n), half: uint(bits.Len64(uint64(n-1))+1) / 2}
	rng := rand.New(rand.NewPCG(seed^0x73706172, uint64(epoch)))
	for i := range s.keys {
		s.keys[i] = rng.Uint64()
	}
	return s
}

func (s *sparse) at(place int) int {
	mask := uint64(1)<<s.half - 1
	for x := uint64(place); ; {
		l, r := x>>s.half, x&mask
		for _, key := range s.keys {
			mixed := (r ^ key) * 0x9e3779b97f4a7c15
			mixed ^= mixed >> 29
			mixed *= 0xbf58476d1ce4e5b9
			l, r = r, l^mixed>>32&mask
		}
		if x = l<<s.half | r; x < s.n {
			return int(x)
		}
	}
}

// orders remembers the newest epoch's order.
type orders struct {
	cfg   *Config
	epoch int
	order []int
}

// batch returns epoch and sample indices of a step, counted from 0. It leaves out an epoch's last samples when
// they do not fill a batch; another epoch leaves out others.
func (o *orders) batch(step int) (epoch int, indices []int) {
	perEpoch := o.cfg.Samples / o.cfg.BatchSize
	epoch = step / perEpoch
	if o.cfg.Samples > maxShuffled {
		indices = make([]int, o.cfg.BatchSize)
		s := newSparse(o.cfg.Samples, o.cfg.Seed, epoch)
		for i := range indices {
			indices[i] = step%perEpoch*o.cfg.BatchSize + i
			if o.cfg.Shuffle {
				indices[i] = s.at(indices[i])
			}
		}
		return epoch, indices
	}
	if o.order == nil || epoch != o.epoch {
		o.epoch, o.order = epoch, Order(o.cfg.Samples, o.cfg.Seed, epoch, o.cfg.Shuffle)
	}
	at := step % perEpoch * o.cfg.BatchSize
	return epoch, o.order[at : at+o.cfg.BatchSize]
}
