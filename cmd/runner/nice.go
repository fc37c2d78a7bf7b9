package main

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// yielding is the priority of a process that lets trainings go first. A lower one would have pages wait for seconds while all cores train.
const yielding = 10

// yieldToTrainings lowers the priority of the process. On Linux priorities are those of threads: new ones inherit that of the thread
// that makes them, so all that there are get it, twice for those that were made meanwhile.
func yieldToTrainings() {
	for range 2 {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, 0, yielding)
			return
		}
		for _, t := range threads {
			id, _ := strconv.Atoi(t.Name())
			if now, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil && 20-now < yielding { // the call gives 20 - nice
				_ = unix.Setpriority(unix.PRIO_PROCESS, id, yielding) // lowering is always allowed
			}
		}
	}
}
