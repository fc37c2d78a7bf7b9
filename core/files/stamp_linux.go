package files

import (
	"io/fs"
	"syscall"
)

// changeTime returns when contents, name or attributes of a file last changed, in nanoseconds since 1970.
func changeTime(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ctim.Nano()
	}
	return 0
}

// deviceInode returns the device and the inode of a file.
func deviceInode(info fs.FileInfo) (device, inode uint64) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Dev, s.Ino
	}
	return 0, 0
}
