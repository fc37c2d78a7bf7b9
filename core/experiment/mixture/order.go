package mixture

import (
	"math/bits"
	"math/rand/v2"
	"slices"
)

// Order returns the order in which a round visits the samples 0 … n-1 of a source. It is a pure function of its
// arguments, and the identity when shuffle is false.
func Order(n int, seed uint64, round int, shuffle bool) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if shuffle {
		const purpose = 0x6f72646572 // "order": keeps this stream apart from others of the same seed
		rng := rand.New(rand.NewPCG(seed^purpose, uint64(round)))
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

func newSparse(n int, seed uint64, round int) *sparse {
	s := &sparse{n: uint64(n), half: uint(bits.Len64(uint64(n-1))+1) / 2}
	rng := rand.New(rand.NewPCG(seed^0x73706172, uint64(round)))
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

// order gives the samples of a source by round and place. It remembers the newest round.
type order struct {
	source *Source
	seed   uint64
	round  int
	whole  []int   // of Global
	sparse *sparse // of Global, for very many samples
	shards *sharded
}

// at returns the sample at a place of a round.
func (o *order) at(round, place int) int {
	known := o.round == round
	o.round = round
	switch o.source.Shuffle {
	case Global:
		if o.source.Len > maxShuffled {
			if o.sparse == nil || !known {
				o.sparse = newSparse(o.source.Len, o.seed, round)
			}
			return o.sparse.at(place)
		}
		if o.whole == nil || !known {
			o.whole = Order(o.source.Len, o.seed, round, true)
		}
		return o.whole[place]
	case Shards:
		if o.shards == nil || !known {
			o.shards = newSharded(o.source, o.seed, round)
		}
		return o.shards.at(place)
	}
	return place
}

// sharded is the order of shards in one round: shards in random order, of whose samples, laid end to end, each window
// is shuffled. It takes memory for the shards and one window alone.
type sharded struct {
	n, window int
	seed      uint64
	round     int
	first     []int // the first sample of each shard, in the order of their visits
	ends      []int // the place behind each of them
	block     int   // the number of the window whose order is in
	in        []int
}

func newSharded(s *Source, seed uint64, round int) *sharded {
	lengths := s.Shards
	if len(lengths) == 0 {
		lengths = []int{s.Len}
	}
	window := s.Window
	if window < 1 {
		window = DefaultWindow
	}
	starts := make([]int, len(lengths))
	for i := 1; i < len(lengths); i++ {
		starts[i] = starts[i-1] + lengths[i-1]
	}
	o := &sharded{n: s.Len, window: min(window, s.Len), seed: seed, round: round, block: -1}
	end := 0
	for _, k := range Order(len(lengths), seed^0x736861726473, round, true) { // "shards"
		if lengths[k] == 0 {
			continue
		}
		end += lengths[k]
		o.first, o.ends = append(o.first, starts[k]), append(o.ends, end)
	}
	return o
}

func (o *sharded) at(place int) int {
	if block := place / o.window; block != o.block {
		o.block = block
		const purpose = 0x77696e646f77 // "window"
		rng := rand.New(rand.NewPCG(o.seed^purpose, uint64(o.round)<<32^uint64(block)))
		o.in = rng.Perm(min(o.window, o.n-block*o.window))
	}
	at := o.block*o.window + o.in[place%o.window]
	shard, found := slices.BinarySearch(o.ends, at)
	if found {
		shard++
	}
	begin := 0
	if shard > 0 {
		begin = o.ends[shard-1]
	}
	return o.first[shard] + at - begin
}
