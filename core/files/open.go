// Package files opens and finds the files that people name, and tells them apart by their contents. It follows
// links and opens regular files only.
package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"tandem/core/fault"
)

// Open opens a regular file for reading. Pipes, sockets, devices and folders yield fault.Invalid and are never
// opened: reading one could wait for ever, never end or have effects.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, Error(path, err)
	}
	if err := regular(path, info); err != nil {
		return nil, err
	}
	// What lies there may have become a pipe since: without the flag opening one waits for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, Error(path, err)
	}
	if info, err = f.Stat(); err == nil {
		err = regular(path, info)
	}
	if err != nil {
		f.Close()
		return nil, Error(path, err)
	}
	return f, nil
}

// Read reads a whole regular file of at most limit bytes. A longer file yields fault.Invalid and is not read.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path, limit)
}

func readAll(f *os.File, path string, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, Error(path, err)
	}
	if info.Size() > limit {
		return nil, tooLong(path, limit)
	}
	data := make([]byte, 0, info.Size()+1)
	for int64(len(data)) <= limit {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := f.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, Error(path, err)
		}
	}
	return nil, tooLong(path, limit) // a file of no size, as those below /proc, or one that grows
}

func tooLong(path string, limit int64) error {
	return fault.New(fault.Invalid, "the file is longer than %d bytes, the most that is read of such a file", limit).WithFile(path, 0, 0)
}

// regular returns an error that says what a file is, unless it is a regular one.
func regular(path string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return fault.New(fault.Invalid, "this is %s, want a regular file", describeMode(info.Mode())).WithFile(path, 0, 0)
}

// readable returns why a file must not be read; nil when it may.
func readable(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o444 == 0o444 { // by everybody
		return nil
	}
	return unix.Access(path, unix.R_OK)
}

// describeMode names the kind of a file that is not regular.
func describeMode(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "a special file"
}

// Error turns an error of the file system into a fault with a kind and the file. An error that has a kind
// already stays as it is. errors.Is still finds the system's error in it.
func Error(path string, err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	kind := fault.Unavailable
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		kind = fault.NotFound
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		kind = fault.Exhausted
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EINVAL):
		kind = fault.Invalid
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err // the file is already named
	}
	return fault.New(kind, "%w", err).WithFile(path, 0, 0)
}
