package collective

import "runtime"

// anyCPUs numbers as many processors as this process may use.
func anyCPUs() []int {
	list := make([]int, runtime.NumCPU())
	for i := range list {
		list[i] = i
	}
	return list
}
