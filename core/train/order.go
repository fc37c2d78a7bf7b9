package train

import (
	"math/rand/v2"
)

// Order is the order in which an epoch visits the samples 0 … n-1: a pure function of its arguments,
// the identity when shuffle is false.
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

// orders remembers the newest epoch's order.
type orders struct {
	cfg   *Config
	epoch int
	order []int
}

// batch gives epoch and sample indices of a step (from 0). An epoch's last samples that do not fill
// a batch are left out; another epoch leaves out others.
func (o *orders) batch(step int) (epoch int, indices []int) {
	perEpoch := o.cfg.Samples / o.cfg.BatchSize
	epoch = step / perEpoch
	if o.order == nil || epoch != o.epoch {
		o.epoch, o.order = epoch, Order(o.cfg.Samples, o.cfg.Seed, epoch, o.cfg.Shuffle)
	}
	at := step % perEpoch * o.cfg.BatchSize
	return epoch, o.order[at : at+o.cfg.BatchSize]
}
