package child

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory tells the memory of a process in bytes; zeros where the system does not tell.
type Memory struct {
	Peak     int64 // the most that was resident so far (VmHWM)
	Resident int64 // what is resident now (VmRSS)
	Shared   int64 // of that, memory shared with other processes, which each of them counts (RssShmem)
}

// MemoryOf returns the memory of a process; pid 0 means this process.
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

// MemoryOfChildren returns the memory resident in all children of this process, in bytes; 0 where the system does not
// tell. Memory that they share counts once for each.
func MemoryOfChildren() (sum int64) {
	for _, pid := range children() {
		sum += MemoryOf(pid).Resident
	}
	return sum
}

// AvailableMemory returns how much memory more processes may take before the system runs short of it, in bytes: what
// Linux estimates, or what a cgroup leaves when that is less. It is 0 where the system does not tell.
func AvailableMemory() int64 {
	var free int64
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			free = kb << 10
		}
	}
	number := func(name string) (int64, bool) {
		text, err := os.ReadFile("/sys/fs/cgroup/" + name)
		if err != nil {
			return 0, false
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		return n, err == nil // "max" is no number
	}
	if limit, ok := number("memory.max"); ok {
		if used, ok := number("memory.current"); ok {
			free = max(1, min(free, limit-used))
		}
	}
	return free
}

// TotalMemory returns the memory of this machine, or what a cgroup allows when that is less, in bytes; 0 where the system
// does not tell.
func TotalMemory() int64 {
	text, _ := os.ReadFile("/proc/meminfo")
	total := sumOf(text, "MemTotal")
	if text, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			total = min(total, limit)
		}
	}
	return total
}

// startOf returns when a process began, in the kernel's ticks; "" when there is no such process.
func startOf(pid int) string {
	if fields := statOf(pid); len(fields) > 19 {
		return fields[19]
	}
	return ""
}

// statOf returns the fields of /proc/pid/stat after the name: state, parent, group, …
func statOf(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	if i := bytes.LastIndexByte(text, ')'); i >= 0 {
		return strings.Fields(string(text[i+1:]))
	}
	return nil
}

// children returns the process ids of this process's children.
func children() (pids []int) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, name := range lists {
		text, _ := os.ReadFile(name)
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// IsStopped reports whether a signal stopped a process.
func IsStopped(pid int) bool {
	fields := statOf(pid)
	return len(fields) > 0 && strings.HasPrefix(fields[0], "T")
}
