package collective

import (
	"context"
	"os"
)

// Memory is what a rank computes in together with its plugins. Bytes is all of File, mapped for reading and writing; File does not shrink.
// The zero value is none.
type Memory struct {
	File  *os.File
	Bytes []byte
}

// Sharer is implemented by groups whose ranks can add up in one another's memory.
type Sharer interface {
	// Share lets Sum read and write values where they are, when those of every rank lie in its Memory: the sums have the same bits, and no
	// values travel. Every rank calls it. Where the ranks cannot share, nothing changes, and why says the reason, the same on all ranks;
	// otherwise it is "". While a call of Sum is under way, other ranks may write to its values.
	Share(ctx context.Context, mine Memory) (why string, err error)
	// Unshare lets go of the memory of the other ranks. Each rank calls it by itself, when no more values in it are added up.
	Unshare()
}
