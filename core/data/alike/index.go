package alike

import "slices"

// The hashes are found by their quarters: of two that differ in d bits, one quarter differs in at most d/4 (multi-index
// hashing, Norouzi et al. 2012).
const (
	quarters    = 4
	quarterBits = 64 / quarters
	// scanFrom is the distance from which looking at every hash is faster than trying all near quarters.
	scanFrom = 16
)

// Index holds hashes and finds those that are near another. The zero value is empty. It is not safe for use by several
// goroutines while hashes are added.
type Index struct {
	hashes []uint64
	ids    []int
	places [quarters]map[uint16][]int32 // by the quarter's value, the places in hashes
}

// Len returns the number of hashes.
func (x *Index) Len() int { return len(x.hashes) }

// Add puts in a hash under an id of the caller's.
func (x *Index) Add(hash uint64, id int) {
	at := int32(len(x.hashes))
	x.hashes, x.ids = append(x.hashes, hash), append(x.ids, id)
	for q := range quarters {
		if x.places[q] == nil {
			x.places[q] = map[uint16][]int32{}
		}
		k := quarter(hash, q)
		x.places[q][k] = append(x.places[q][k], at)
	}
}

func quarter(hash uint64, q int) uint16 { return uint16(hash >> (q * quarterBits)) }

// Near returns the ids of the hashes that differ from hash in at most distance bits, in the order in which they were added.
func (x *Index) Near(hash uint64, distance int) []int {
	var at []int32
	if distance >= scanFrom {
		for i, h := range x.hashes {
			if Distance(h, hash) <= distance {
				at = append(at, int32(i))
			}
		}
	} else if distance >= 0 {
		radius := distance / quarters
		for q := range quarters {
			around(quarter(hash, q), radius, func(k uint16) {
				for _, i := range x.places[q][k] {
					if Distance(x.hashes[i], hash) <= distance && firstNear(x.hashes[i], hash, radius) == q {
						at = append(at, i)
					}
				}
			})
		}
		slices.Sort(at)
	}
	ids := make([]int, len(at))
	for i, a := range at {
		ids[i] = x.ids[a]
	}
	return ids
}

// firstNear returns the first quarter in which two hashes differ in at most radius bits, so that each is found once.
func firstNear(a, b uint64, radius int) int {
	for q := range quarters {
		if Distance(uint64(quarter(a, q)), uint64(quarter(b, q))) <= radius {
			return q
		}
	}
	return -1
}

// around calls f with k and every value that differs from it in at most radius bits.
func around(k uint16, radius int, f func(uint16)) { flip(k, radius, 0, f) }

func flip(k uint16, left, from int, f func(uint16)) {
	f(k)
	if left == 0 {
		return
	}
	for b := from; b < quarterBits; b++ {
		flip(k^1<<b, left-1, b+1, f)
	}
}
