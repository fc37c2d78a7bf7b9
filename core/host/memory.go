package host

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"tandem/core/wire"
)

// Memory is what the system says of a process's memory, in bytes; zeros where it does not say.
type Memory struct {
	Peak     int64 // the most that was resident so far (VmHWM)
	Resident int64 // what is resident now (VmRSS)
	Shared   int64 // of that, memory shared with other processes, which each of them counts (RssShmem)
}

// Program begins to measure what this process takes beside what it will allocate on purpose: code,
// libraries, Go's runtime. The function it returns says so at any later time, in bytes.
func Program() func() int64 { return wire.Program() }

// MemoryOf is the memory of a process; 0 is this one.
func MemoryOf(pid int) Memory {
	path := "/proc/self/status"
	if pid != 0 {
		path = fmt.Sprintf("/proc/%d/status", pid)
	}
	text, _ := os.ReadFile(path)
	var m Memory
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		to, ok := map[string]*int64{"VmHWM": &m.Peak, "VmRSS": &m.Resident, "RssShmem": &m.Shared}[name]
		if !ok {
			continue
		}
		if kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); err == nil {
			*to = kb << 10
		}
	}
	return m
}
