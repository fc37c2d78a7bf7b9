package child

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A filter of system calls (seccomp) closes the network, which Landlock closes in part only, and what changes files
// without opening them. What is refused fails with "permission denied" or "not permitted"; programs go on.

// filterArch is the architecture that the numbers of calls are of; calls of another one are refused.
var filterArch = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]

// refused lists the calls that a confined program may not make: sockets by other ways, and modes, owners and attributes
// of files by name.
var refused = append([]uint32{
	unix.SYS_IO_URING_SETUP, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWNAT, unix.SYS_SETXATTR, unix.SYS_LSETXATTR,
	unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_SCHED_SETAFFINITY, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_PERF_EVENT_OPEN,
	unix.SYS_BPF, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_USERFAULTFD,
}, refusedOld...)

// canFilterCalls reports whether this system filters calls.
func canFilterCalls() bool {
	_, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	return err == nil && filterArch != 0
}

// filterCalls installs the filter for the calling thread.
func filterCalls() error {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		atMost = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
		// Offsets in struct seccomp_data.
		number, arch, firstArgument = 0, 4, 16
		x32                         = 0x40000000 // set in the numbers of a third set of calls on amd64
	)
	refuse := unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	allow := unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW}
	p := []unix.SockFilter{
		{Code: load, K: arch}, {Code: equal, K: filterArch, Jt: 1}, refuse,
		{Code: load, K: number}, {Code: atMost, K: x32, Jf: 1}, refuse,
	}
	for _, call := range refused {
		p = append(p, unix.SockFilter{Code: equal, K: call, Jf: 1}, refuse)
	}
	p = append(p, unix.SockFilter{Code: equal, K: unix.SYS_SOCKET, Jt: 1}, allow,
		unix.SockFilter{Code: load, K: firstArgument}, unix.SockFilter{Code: equal, K: unix.AF_UNIX, Jf: 1}, allow,
		unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)})
	program := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	runtime.KeepAlive(p)
	return nil
}
