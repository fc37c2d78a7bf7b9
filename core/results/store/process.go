package store

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// process describes the owner of a run, as recorded.
type process struct {
	host      string
	pid       int
	token     string // see processToken
	heartbeat int64  // ms
}

// alive reports whether the process may still run, as seen from host at now (ms). Where processes
// cannot be seen it is alive while its heartbeat is no older than staleAfter.
func (p process) alive(host string, now int64) bool {
	if p.host != host { // its processes are not ours to see
		return p.isFresh(now)
	}
	self := processToken(os.Getpid())
	if self == "" {
		return !errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH)
	}
	own, _, _ := strings.Cut(self, " ")
	if space, _, _ := strings.Cut(p.token, " "); space != own {
		boot, _, _ := strings.Cut(space, "/")
		ownBoot, _, _ := strings.Cut(own, "/")
		// Of the same boot it is in another container, whose pids are not ours to see; of another, the
		// machine has started anew since.
		return boot == ownBoot && p.isFresh(now)
	}
	return processToken(p.pid) == p.token
}

// isFresh reports whether the heartbeat is of the last minutes. One that lies far in the future is of a clock that is or was
// wrong, and would be fresh for ever.
func (p process) isFresh(now int64) bool {
	return max(now-p.heartbeat, p.heartbeat-now) < staleAfter.Milliseconds()
}

// processToken tells a process from any other that ever has the same pid: "boot/namespace start",
// from /proc. It is "" where that cannot be read, and for a process that is gone or a zombie.
func processToken(pid int) string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name in parentheses may hold anything, so fields are counted from the last ")": state is
	// the first after it, the start time in ticks since boot the 20th (proc(5)).
	text := string(stat)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fmt.Sprintf("%.8s/%s %s", boot, space, fields[19])
}
