package mpi

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"tandem/core/experiment/collective/mpi/mpitest"
)

func TestTwoMachinesGetTheSameBits(t *testing.T) {
	needMPI(t)
	h := mpitest.New(t)
	out, err := output(h.Spread(ranks(t, 2, "equal")))
	if err != nil || strings.Count(out, "done") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestARankThatIsKilledOnAnotherMachineIsGone(t *testing.T) {
	needMPI(t)
	h := mpitest.New(t)
	out, err := output(h.Spread(ranks(t, 2, "killed")))
	if want := "rank 1 on " + h.Names[1] + " is gone: its process ended"; err == nil || strings.Count(out, want) != 1 {
		t.Errorf("want %q: %v\n%s", want, err, out)
	}
}

func TestAMachineThatDoesNotAnswerIsGone(t *testing.T) {
	needMPI(t)
	h := mpitest.New(t)
	cmd := h.Spread(ranks(t, 2, "steps"))
	var out bytes.Buffer
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	go func() { <-ctx.Done(); r.Close() }()
	want := "rank 1 on " + h.Names[1] + " is gone: its machine does not answer"
	cut := false
	for chunk := make([]byte, 4096); ; {
		n, err := r.Read(chunk)
		out.Write(chunk[:n])
		if !cut && strings.Count(out.String(), "process ") == 2 {
			cut = true
			h.Cut()
		}
		if err != nil || strings.Contains(out.String(), want) {
			break
		}
	}
	if !strings.Contains(out.String(), want) {
		t.Errorf("want %q:\n%s", want, out.String())
	}
	h.Remove()
	_ = cmd.Wait()
}
