//go:build onednn

package graph

import (
	"testing"

	"tandem/core/device/onednn"
)

func TestOneDNNAgreesWithTheReference(t *testing.T) {
	fast, err := onednn.New(2)
	if err != nil {
		t.Skip(err)
	}
	agrees(t, fast)
}
