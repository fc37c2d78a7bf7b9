//go:build !linux

package wire

import (
	"errors"
	"os"
)

func makeShared() (*os.File, []byte, error) { return nil, nil, errors.ErrUnsupported }

func mapShared(uintptr, int64) ([]byte, error) { return nil, errors.ErrUnsupported }

func monotonic() int64 { return 0 }

func unmap([]byte) {}

func punch(*os.File, uint64, uint64) error { return errors.ErrUnsupported }

func allocatedBytes(*os.File) int64 { return 0 }
