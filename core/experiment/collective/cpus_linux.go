package collective

import "golang.org/x/sys/unix"

// cpus returns the numbers of the processors that this process may run on.
func cpus() (list []int) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return anyCPUs()
	}
	for i := range 8 * len(set) * 8 {
		if set.IsSet(i) {
			list = append(list, i)
		}
	}
	return list
}
