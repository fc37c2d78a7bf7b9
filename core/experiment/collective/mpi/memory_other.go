//go:build !linux

package mpi

import (
	"errors"
	"os"
)

func (*card) identify(*os.File) error { return errors.ErrUnsupported }

func mapMemory(card) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmap([]byte) {}
