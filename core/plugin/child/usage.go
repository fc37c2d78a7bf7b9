package child

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Usage follows the number and the memory of a plugin's processes.
type Usage struct {
	runner *Runner
	looks  int
	strays []int        // members of the family that are no descendants
	family map[int]bool // as Look found it
}

// strayEvery sets how often, in looks, members are searched for among all processes: to read the environment of every
// process takes time.
const strayEvery = 100

// Usage returns what follows the process and its family.
func (c *Runner) Usage() *Usage { return &Usage{runner: c} }

// Look finds the family, and returns how many processes it has.
func (u *Usage) Look() int {
	if u.looks%strayEvery == 0 {
		u.strays = withMarker(func(m string) bool { return m == u.runner.marker })
	}
	u.looks++
	u.family = descendants(u.runner.PID())
	for _, stray := range u.strays {
		u.family[stray] = true
	}
	return len(u.family)
}

// Above returns how much memory the processes of the last Look take together if that is more than limit, else 0. What they
// share among each other counts once. shared is memory that they share with this process, of which they take at most half;
// it does not count.
func (u *Usage) Above(limit, shared int64) int64 {
	family := u.family
	sum := int64(0)
	for member := range family {
		sum += statusBytes(member, "RssAnon", "RssShmem", "VmSwap")
	}
	if sum <= limit { // what they share counted for each: an upper bound
		return 0
	}
	own, shmem := int64(0), int64(0)
	for member := range family {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", member))
		if err != nil || !bytes.Contains(text, []byte("Pss_Anon:")) {
			own += statusBytes(member, "RssAnon", "VmSwap") // of an old kernel
			continue
		}
		own += sumOf(text, "Pss_Anon", "SwapPss")
		shmem += sumOf(text, "Pss_Shmem")
	}
	if own += max(0, shmem-shared/2); own > limit {
		return own
	}
	return 0
}

// descendants returns a process and all below it.
func descendants(pid int) map[int]bool {
	found, next := map[int]bool{pid: true}, []int{pid}
	for len(next) > 0 {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", next[0]))
		next = next[1:]
		for _, name := range lists {
			text, _ := os.ReadFile(name)
			for _, field := range strings.Fields(string(text)) {
				if child, err := strconv.Atoi(field); err == nil && !found[child] {
					found[child] = true
					next = append(next, child)
				}
			}
		}
	}
	return found
}

func statusBytes(pid int, names ...string) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return sumOf(text, names...)
}

// sumOf adds lines such as "RssAnon:  123 kB".
func sumOf(text []byte, names ...string) (sum int64) {
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		for _, wanted := range names {
			if name == wanted {
				kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				sum += kb << 10
			}
		}
	}
	return sum
}
