package wire

import (
	"os"

	"golang.org/x/sys/unix"
)

// makeShared makes a sparse memfd, sealed so that no plugin can take memory away from under the others. Where a
// limit forbids the size it tries smaller ones.
func makeShared() (*os.File, []byte, error) {
	fd, err := unix.MemfdCreate("tandem-arena", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, err
	}
	file := os.NewFile(uintptr(fd), "tandem-arena")
	for size := int64(64 << 30); size >= 1<<30; size /= 4 {
		if err = unix.Ftruncate(fd, size); err != nil {
			continue
		}
		var mem []byte
		if mem, err = mapShared(file.Fd(), size); err != nil {
			continue
		}
		seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
		if _, err = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
			unmap(mem)
			break
		}
		return file, mem, nil
	}
	file.Close()
	return nil, nil, err
}

func mapShared(fd uintptr, size int64) ([]byte, error) {
	return unix.Mmap(int(fd), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
}

// monotonic reads CLOCK_MONOTONIC, one clock for all processes; 0 when it cannot be read.
func monotonic() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return t.Nano()
}

func unmap(mem []byte) { _ = unix.Munmap(mem) }

// punch gives the pages of a block back to the system; they read as zero afterwards.
func punch(file *os.File, at, n uint64) error {
	return unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(at), int64(n))
}

// allocatedBytes returns the memory that the pages of an arena take.
func allocatedBytes(file *os.File) int64 {
	var stat unix.Stat_t
	if unix.Fstat(int(file.Fd()), &stat) != nil {
		return 0
	}
	return stat.Blocks * 512
}
