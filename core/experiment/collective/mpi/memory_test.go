package mpi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tandem/core/experiment/collective"
	"tandem/core/experiment/collective/mpi/mpitest"
	"tandem/core/fault"
)

func TestSumsInSharedMemoryHaveTheSameBits(t *testing.T) {
	for _, n := range []int{2, 3, 4} {
		out, err := output(ranks(t, n, "memory"))
		if err != nil || strings.Count(out, "done") != n {
			t.Errorf("%d ranks: %v\n%s", n, err, out)
		}
	}
}

func TestARankThatIsKilledWhileSharingMemoryIsGone(t *testing.T) {
	out, err := output(ranks(t, 3, "slain"))
	if want := "rank 1 on " + collective.Host() + " is gone: its process ended"; err == nil || strings.Count(out, want) != 2 {
		t.Errorf("want twice %q: %v\n%s", want, err, out)
	}
	for _, pid := range pids(out) {
		if !endsSoon(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}
}

// A sum that is stopped leaves the pieces that are to come alone: their memory may be gone soon.
func TestASumInMemoryEndsAtAPieceWhenItIsStopped(t *testing.T) {
	before := pieceBytes
	pieceBytes = 4 * 8
	defer func() { pieceBytes = before }()
	g := newGroup(nil, 0, 2)
	const n = 5 * 8
	var addresses []uintptr
	var first []float32
	for range 2 {
		_, values, err := place(n)
		if err != nil {
			t.Fatal(err)
		}
		for i := range values {
			values[i] = 1
		}
		if first == nil {
			first = values
		}
		addresses = append(addresses, uintptr(unsafe.Pointer(&values[0])))
	}
	why, asked := errors.New("stopped"), 0
	_, err := g.sumInMemory(addresses, n, func() error {
		if asked++; asked == 3 {
			return why
		}
		return nil
	})
	want := slices.Repeat([]float32{1}, n)
	for _, o := range []int{0, 8} { // the halves of two pieces that are this rank's
		copy(want[o:], []float32{2, 2, 2, 2})
	}
	if err != why || !slices.Equal(first, want) {
		t.Errorf("%v, error %v; want %v, error %v", first, err, want, why)
	}
	g.lose(why)
	if _, err := g.sumInMemory(addresses, n, g.unusable); err != why || !slices.Equal(first, want) {
		t.Errorf("of a group that lost a rank: %v, error %v", first, err)
	}
}

func TestRanksOnTwoMachinesShareNoMemory(t *testing.T) {
	needMPI(t)
	h := mpitest.New(t)
	out, err := output(h.Spread(ranks(t, 2, "apart")))
	want := fmt.Sprintf("because rank 1 on %s and rank 0 on %s are on different machines", h.Names[1], h.Names[0])
	if err != nil || strings.Count(out, want) != 2 {
		t.Errorf("want twice %q: %v\n%s", want, err, out)
	}
}

// place makes memory for so many values.
func place(n int) (collective.Memory, []float32, error) {
	fd, err := unix.MemfdCreate("ranks", 0)
	if err != nil {
		return collective.Memory{}, nil, err
	}
	if err := unix.Ftruncate(fd, int64(4*n)); err != nil {
		return collective.Memory{}, nil, err
	}
	bytes, err := unix.Mmap(fd, 0, 4*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return collective.Memory{}, nil, err
	}
	return collective.Memory{File: os.NewFile(uintptr(fd), "ranks"), Bytes: bytes}, unsafe.Slice((*float32)(unsafe.Pointer(&bytes[0])), n), nil
}

// sumsInMemory is a rank that compares sums in memory with those by way of MPI.
func sumsInMemory(ctx context.Context) error {
	g, err := Open(ctx)
	if err != nil {
		return err
	}
	pieceBytes = 1 << 16
	const room = 50000
	m, values, err := place(room)
	if err != nil {
		return err
	}
	sharer := g.(collective.Sharer)
	if g.Rank() == 1 { // then nobody has any
		why, err := sharer.Share(ctx, collective.Memory{})
		if want := "rank 1 on " + collective.Host() + " has no shared memory: there is none"; err != nil || why != want {
			return fmt.Errorf("%q, want %q: %w", why, want, err)
		}
	} else if why, err := sharer.Share(ctx, m); err != nil || why == "" {
		return fmt.Errorf("shared without rank 1: %w", err)
	}
	for range 2 { // another Share takes the place of the first
		if why, err := sharer.Share(ctx, m); err != nil || why != "" {
			return fmt.Errorf("not shared: %s, %w", why, err)
		}
	}
	for _, n := range []int{0, 1, 3, 1025, 20003, room - 10} {
		mine := sample[float32](g.Rank(), n)
		own := values[3*g.Rank():][:n]
		copy(own, mine)
		before := g.Sent()
		g.(*group).others = nil
		inMemory, err := g.Sum(ctx, own)
		if err != nil || g.(*group).others != nil { // room for what others send
			return fmt.Errorf("%d values were sent: %w", n, err)
		}
		between := g.Sent()
		sums := slices.Clone(mine)
		byMPI, err := g.Sum(ctx, sums)
		if err != nil {
			return err
		}
		if sent, want := between-before, g.Sent()-between; sent != want {
			return fmt.Errorf("%d values: %d bytes counted in memory, %d by MPI", n, sent, want)
		}
		if math.Float64bits(inMemory) != math.Float64bits(byMPI) {
			return fmt.Errorf("%d values: squares %v in memory, %v by MPI", n, inMemory, byMPI)
		}
		if err := same(results{floats: [][]float32{own}}, results{floats: [][]float32{sums}}); err != nil {
			return fmt.Errorf("%d values: %w", n, err)
		}
		if n > 0 && slices.Equal(own, sample[float32](g.Rank(), n)) {
			return errors.New("nothing was added")
		}
	}
	// A rank with fewer values is an error of all, and they go on.
	_, err = g.Sum(ctx, values[:10-min(g.Rank(), 1)])
	if want := "rank 0 adds up values of 40 bytes, rank 1 of 36"; err == nil || !strings.Contains(err.Error(), want) {
		return fmt.Errorf("%w, want %q", err, want)
	}
	// Values that lie in memory at some ranks only are sent.
	clear(values)
	some := values[:8]
	if g.Rank() == 1 {
		some = make([]float32, 8)
	}
	some[5] = 1
	if _, err := g.Sum(ctx, some); err != nil || some[5] != float32(g.Size()) {
		return fmt.Errorf("%v, %w", some, err)
	}
	sharer.Unshare()
	if _, err := g.Sum(ctx, values[:8]); err != nil || g.(*group).memory != nil {
		return err
	}
	return g.Close()
}

// isSlain is a rank of a group of which one is killed at any point of a sum.
func isSlain(ctx context.Context) error {
	g, err := Open(ctx)
	if err != nil {
		return err
	}
	fmt.Println("process", os.Getpid())
	m, values, err := place(1 << 22)
	if err != nil {
		return err
	}
	if why, err := g.(collective.Sharer).Share(ctx, m); err != nil || why != "" {
		return fmt.Errorf("not shared: %s, %w", why, err)
	}
	if g.Rank() == 1 {
		time.AfterFunc(time.Duration(20+rand.IntN(20))*time.Millisecond, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })
	}
	for {
		if _, err := g.Sum(ctx, values); err != nil {
			<-g.Lost()
			if fault.KindOf(err) != fault.Unavailable || err != g.Cause() {
				return fmt.Errorf("error %v, cause %w", err, g.Cause())
			}
			return err
		}
	}
}

// isApart is a rank that shares memory with none on another machine.
func isApart(ctx context.Context) error {
	g, err := Open(ctx)
	if err != nil {
		return err
	}
	m, _, err := place(8)
	if err != nil {
		return err
	}
	why, err := g.(collective.Sharer).Share(ctx, m)
	fmt.Println("because", why)
	return errors.Join(err, g.Close())
}
