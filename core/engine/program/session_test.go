package program

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/graph"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// refuser is a backend that pins so many pieces of memory, and no more.
type refuser struct {
	device.Backend
	left int
}

func (r *refuser) ShareHost([]byte) error {
	if r.left--; r.left < 0 {
		return fault.New(fault.Exhausted, "ulimit -l\nis reached")
	}
	return nil
}

type noPrograms struct{}

func (noPrograms) SetProfile(func(graph.Event)) {}

func TestMemoryThatIsNotPinnedIsToldOnce(t *testing.T) {
	said := &bytes.Buffer{}
	warnings = said
	defer func() { warnings = os.Stderr }()
	s := NewSession(nil)
	s.Use(&refuser{reference.New[float32](1), 1}, noPrograms{})
	for range 2 {
		for _, n := range []int{100, 200, 300} {
			s.Share(&tensor.Tensor{Pages: pages[n]}, nil)
		}
	}
	if got := s.Unpinned(); len(got) != 1 || got[0] != (clip.MemoryPart{Name: "not pinned", Bytes: 500}) {
		t.Errorf("unpinned: %v, want 500 bytes", got)
	}
	if text := said.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "warning: ") || !strings.Contains(text, "ulimit -l") {
		t.Errorf("said %q, want one line", text)
	}
	fine := NewSession(nil)
	fine.Use(&refuser{reference.New[float32](1), 9}, noPrograms{})
	fine.Share(&tensor.Tensor{Pages: pages[100]})
	if got := fine.Unpinned(); got != nil {
		t.Errorf("unpinned: %v, want nothing", got)
	}
}

var pages = map[int][]byte{100: make([]byte, 100), 200: make([]byte, 200), 300: make([]byte, 300)}
