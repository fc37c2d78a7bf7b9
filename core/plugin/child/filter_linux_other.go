//go:build linux && !amd64

package child

// refusedOld lists calls that newer architectures do without.
var refusedOld []uint32
