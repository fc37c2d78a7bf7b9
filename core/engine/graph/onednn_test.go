//go:build onednn

package graph

import (
	"testing"

	"tandem/core/engine/device/onednn"
)

func TestOneDNNAgreesWithTheReference(t *testing.T) {
	fast, err := onednn.New(2)
	if err != nil {
		t.Skip(err)
	}
	agrees(t, fast)
}

func TestValuesKeptAsBF16GiveTheSameBitsInLessMemory(t *testing.T) {
	for _, isa := range []string{"avx512", "avx2"} { // where the processor multiplies bfloat16, and where it does not
		t.Run(isa, func(t *testing.T) {
			t.Setenv("TANDEM_ISA", isa)
			b, err := onednn.New(2)
			if err != nil {
				t.Skip(err)
			}
			halvesKeepBits(t, b, "vit", "transformer", "residual network")
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
