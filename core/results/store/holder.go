package store

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// holder names the process that keeps the database at path locked for writing, for a sentence that goes on; "" when that
// is not to be seen. In WAL mode it is the one with a write lock on a byte of the shared memory beside the file.
func holder(path string) string {
	info, err := os.Stat(path + "-shm")
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return ""
	}
	// 4: POSIX  ADVISORY  WRITE 1234 fe:00:5678 120 120; the byte is SQLite's for writers (walformat, "WAL-index locks").
	file := fmt.Sprintf(":%d", stat.Ino)
	for line := range strings.Lines(string(locks)) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] == "->" || f[3] != "WRITE" || f[6] != "120" || !strings.HasSuffix(f[5], file) {
			continue
		}
		name, err := os.ReadFile("/proc/" + f[4] + "/comm")
		if err != nil {
			return ""
		}
		return fmt.Sprintf(" (process %s, %q)", f[4], strings.TrimSpace(string(name)))
	}
	return ""
}
