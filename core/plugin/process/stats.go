package process

import (
	"slices"
	"strings"
	"sync"
	"time"

	"tandem/core/plugin/wire"
)

// Program begins to measure what this process takes beside what it will allocate on purpose: code, libraries, Go's
// runtime. The function that it returns tells it at any later time, in bytes.
func Program() func() int64 { return wire.Program() }

// MethodStats tells the time that calls of one method took.
type MethodStats struct {
	Method string
	Calls  int
	Failed int
	Client time.Duration // as the callers waited; Client − Server is the wire
	Server time.Duration // inside the plugin
	Work   float64       // floating-point operations, where the plugin counts them (clip.Meter)
}

type stats struct {
	mu sync.Mutex
	by map[string]*MethodStats
}

func (s *stats) add(c wire.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.by[c.Method]
	if m == nil {
		m = &MethodStats{Method: c.Method}
		if s.by == nil {
			s.by = map[string]*MethodStats{}
		}
		s.by[c.Method] = m
	}
	m.Calls++
	if c.Failed { // without the server's time, the client's would count as wire
		m.Failed++
		return
	}
	m.Client += c.Client
	m.Server += c.Server
	m.Work += c.Work
}

func (s *stats) list() []MethodStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]MethodStats, 0, len(s.by))
	for _, m := range s.by {
		list = append(list, *m)
	}
	slices.SortFunc(list, func(a, b MethodStats) int { return strings.Compare(a.Method, b.Method) })
	return list
}
