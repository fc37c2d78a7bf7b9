package child_test

import (
	"bufio"
	"io"
	"testing"

	"tandem/core/plugin/child"
)

// The end of one session finds a program that another part of the runner has started, and leaves it alone.
func TestAProgramThatRunsOutlivesTheEndOfASession(t *testing.T) {
	out, in := io.Pipe()
	ended := make(chan error, 1)
	leave := child.Enter()
	go func() {
		ended <- child.Run(t.Context(), in, io.Discard, "sh", "-c", "echo begun; read line < /dev/null; sleep 0.2")
	}()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	leave()
	if err := <-ended; err != nil {
		t.Errorf("the program that runs: %v", err)
	}
}
