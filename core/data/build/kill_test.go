package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/core/fault"
)

// TestMain doubles as a process that builds and is killed.
func TestMain(m *testing.M) {
	if text := os.Getenv("BUILD_TEST"); text != "" {
		source, out, _ := strings.Cut(text, "\n")
		c := Defaults()
		c.Out, c.Sources, c.Shards.Samples = out, []SourceSpec{{WARC: source}}, 7
		if _, err := Build(context.Background(), &c, Options{Watcher: slow{}}); err != nil {
			fmt.Println(fault.Format(err))
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// slow takes a while for each step, so that a kill meets every stage.
type slow struct{}

func (slow) Progress(string, int64, int64) { time.Sleep(500 * time.Microsecond) }
func (slow) Say(string)                    {}

// A build whose process is killed, again and again, ends in the files of one that was let be.
func TestABuildThatIsKilledGoesOnToTheSameBytes(t *testing.T) {
	source := SourceSpec{WARC: write(t, t.TempDir(), "site.warc.gz", website(30))}
	whole := config(t, source)
	build(t, whole)
	_, want := captions(t, whole.Out)
	out := filepath.Join(t.TempDir(), "set")
	kills := 0
	for life := 50 * time.Millisecond; ; life += life / 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "BUILD_TEST="+source.WARC+"\n"+out)
		var said strings.Builder
		cmd.Stdout = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(life, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil {
			break
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("%v: %s", err, said.String())
		}
		if kills++; kills > 200 {
			t.Fatal("it does not end")
		}
	}
	if kills == 0 {
		t.Skip("the machine is too fast to kill it")
	}
	if _, got := captions(t, out); !equal(got, want) {
		t.Errorf("after %d kills the files differ: %v, want %v", kills, names(got), names(want))
	}
}
