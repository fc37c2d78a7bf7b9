package mpi

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// identify fills in what tells a file from all others.
func (c *card) identify(file *os.File) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	c.Boot, c.PID, c.FD = strings.TrimSpace(string(boot)), os.Getpid(), int(file.Fd())
	c.Device, c.Inode, err = fileID(c.FD)
	return err
}

func fileID(fd int) (device, inode uint64, err error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, 0, err
	}
	return uint64(stat.Dev), stat.Ino, nil
}

// mapMemory maps the file that another process of this machine has open, as the kernel lets the same user do. Where processes do
// not have the same numbers, it finds another file or none.
func mapMemory(c card) ([]byte, error) {
	file, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", c.PID, c.FD), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if device, inode, err := fileID(int(file.Fd())); err != nil || device != c.Device || inode != c.Inode {
		return nil, errors.Join(fmt.Errorf("%s is another file", file.Name()), err)
	}
	return unix.Mmap(int(file.Fd()), 0, int(c.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
}

func unmap(bytes []byte) { _ = unix.Munmap(bytes) }
