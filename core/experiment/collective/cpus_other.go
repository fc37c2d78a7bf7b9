//go:build !linux

package collective

func cpus() []int { return anyCPUs() }
