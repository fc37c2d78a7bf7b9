package reference

import "sync"

// grain limits how finely work is split: with fewer element operations, roughly, a goroutine does not pay.
const grain = 1 << 14

// split calls f on the parts of [0, n), one goroutine each, and waits. cost is the work of one item
// in element operations. part numbers the pieces from 0, under threads.
func (b *Backend[T]) split(n, cost int, f func(part, lo, hi int)) {
	parts := min(b.threads, n, 1+n*max(cost, 1)/grain)
	if parts <= 1 {
		if n > 0 {
			f(0, 0, n)
		}
		return
	}
	var wait sync.WaitGroup
	for p := 1; p < parts; p++ {
		wait.Go(func() { f(p, p*n/parts, (p+1)*n/parts) })
	}
	f(0, 0, n/parts)
	wait.Wait()
}

// each calls f(i) for every i in [0, n), spread like split.
func (b *Backend[T]) each(n, cost int, f func(i int)) {
	b.split(n, cost, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			f(i)
		}
	})
}
