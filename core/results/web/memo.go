package web

import (
	"sync"
	"time"
)

// Memo keeps values that are dear to make as long as they hold. At most one is made of a key at a time; others wait for it.
type Memo[V any] struct {
	most   int           // values that are kept
	oldest time.Duration // after which a value is made anew in any case

	mu   sync.Mutex
	kept map[string]*memo[V]
}

type memo[V any] struct {
	used time.Time // guarded by Memo.mu

	mu    sync.Mutex
	made  time.Time // zero: there is none
	stamp string
	value V
}

// NewMemo keeps the most values that were used last, each for a time at most.
func NewMemo[V any](most int, oldest time.Duration) *Memo[V] {
	return &Memo[V]{most: most, oldest: oldest, kept: map[string]*memo[V]{}}
}

// Get returns the value of a key, made anew where none is kept that was made with this stamp. An error is not kept.
func (m *Memo[V]) Get(key, stamp string, make func() (V, error)) (V, error) {
	x := m.entry(key)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stamp == stamp && !x.made.IsZero() && time.Since(x.made) < m.oldest {
		return x.value, nil
	}
	value, err := make()
	if err != nil {
		return value, err
	}
	x.made, x.stamp, x.value = time.Now(), stamp, value
	return value, nil
}

func (m *Memo[V]) entry(key string) *memo[V] {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.kept[key]
	if x == nil {
		x = &memo[V]{}
		m.kept[key] = x
	}
	x.used = time.Now()
	for len(m.kept) > m.most {
		var last string
		for k, y := range m.kept {
			if y != x && (last == "" || y.used.Before(m.kept[last].used)) {
				last = k
			}
		}
		delete(m.kept, last)
	}
	return x
}
