package child

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// markerEnv names the variable that says which plugin a process belongs to: the runner's pid, when the runner
// began, and a number.
const markerEnv = "RUNNER_MEMBER"

var (
	members atomic.Int64
	self    = fmt.Sprintf("%d.%s", os.Getpid(), startOf(os.Getpid()))
	known   sync.Map // pids of processes that this package started and waits for
	// starting is held for reading from before a process starts until it is known, and for writing while strays are looked for.
	starting sync.RWMutex
	entered  atomic.Int32
	first    sync.Once
)

// startKnown starts a process and makes it known, so that it is no stray.
func startKnown(cmd *exec.Cmd) error {
	starting.RLock()
	defer starting.RUnlock()
	err := cmd.Start()
	if err == nil {
		known.Store(cmd.Process.Pid, true)
	}
	return err
}

func newMarker() string { return fmt.Sprintf("%s.%d", self, members.Add(1)) }

// withMarker returns the processes whose marker is right.
func withMarker(right func(marker string) bool) (pids []int) {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range entries {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(dir + "/environ") // of other users it cannot be read
		if err != nil {
			continue
		}
		for kv := range bytes.SplitSeq(env, []byte{0}) {
			if marker, ok := bytes.CutPrefix(kv, []byte(markerEnv+"=")); ok && right(string(marker)) {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// endFamily kills what is left of a plugin after its process has ended and was waited for: the process group,
// and the processes with the marker, which may still start others.
func endFamily(pid int, marker string) {
	killGroup(pid)
	for range 20 {
		left := withMarker(func(m string) bool { return m == marker })
		if len(left) == 0 {
			break
		}
		for _, p := range left {
			kill(p)
		}
		time.Sleep(5 * time.Millisecond)
		reapOrphans(left)
	}
	reapGroup(pid)
}

// Enter must be called before plugins are started. leave says that they have ended; when no other caller of
// Enter is left it kills the orphans that lost their marker, since no plugin can own them.
//
// The first call also makes this process the parent of its plugins' orphans, and kills the processes of plugins
// whose runner was killed.
func Enter() (leave func()) {
	first.Do(func() {
		adopt()
		endOrphansOfDead()
	})
	entered.Add(1)
	return sync.OnceFunc(func() {
		if entered.Add(-1) == 0 {
			endStrays()
		}
	})
}

// endStrays kills the orphans that lost their marker.
func endStrays() {
	starting.Lock()
	defer starting.Unlock()
	var strays []int
	for _, pid := range children() {
		if _, ours := known.Load(pid); ours {
			continue
		}
		// A child in the runner's own group is one that the runner started for something else.
		if fields := statOf(pid); len(fields) > 2 && fields[2] != strconv.Itoa(group()) {
			kill(pid)
			strays = append(strays, pid)
		}
	}
	for range 20 {
		if len(strays) == 0 || !reapOrphans(strays) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// endOrphansOfDead kills the processes of plugins whose runner was killed.
func endOrphansOfDead() {
	for _, pid := range withMarker(func(m string) bool {
		owner, _, ok := strings.Cut(m, ".")
		start, _, ok2 := strings.Cut(strings.TrimPrefix(m, owner+"."), ".")
		n, err := strconv.Atoi(owner)
		return ok && ok2 && err == nil && start != "" && startOf(n) != start
	}) {
		kill(pid)
	}
}
