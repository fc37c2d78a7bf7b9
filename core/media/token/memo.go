package token

import (
	"strings"
	"sync"
)

const (
	memoText = 1 << 10 // longer texts are not kept, bytes
	memoIDs  = 8 << 20 // ids that are kept at most
)

// memo keeps the ids of texts that were met before. It is safe for concurrent use.
type memo struct {
	mu   sync.RWMutex
	ids  map[string][]int32
	kept int
}

// recall returns the ids of a text, which encode makes when they are not kept. They are not the caller's to change.
func (m *memo) recall(text string, encode func() []int32) []int32 {
	m.mu.RLock()
	ids, ok := m.ids[text]
	m.mu.RUnlock()
	if ok {
		return ids
	}
	ids = encode()
	if len(text) > memoText {
		return ids
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept+len(ids) > memoIDs {
		return ids // a set of captions larger than the memo would only evict itself in every epoch
	}
	if _, raced := m.ids[text]; !raced {
		if m.ids == nil {
			m.ids = map[string][]int32{}
		}
		m.kept += len(ids) + 1
		m.ids[strings.Clone(text)] = ids
	}
	return ids
}
