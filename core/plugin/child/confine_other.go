//go:build !linux

package child

import (
	"errors"
	"runtime"
)

func procFD(int) string { return "" }

func become(order, []string) error { return errors.ErrUnsupported }

// Lacks returns what a strict confinement does not keep a plugin from on this machine.
func Lacks() []string {
	return []string{"on " + runtime.GOOS + " it may read and change all that you may, and use the network"}
}

// Cores has no portable form.
func Cores() []int { return nil }
