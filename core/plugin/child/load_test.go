package child

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

func TestBusyTimeIsThatOfTheProcessorsThatCount(t *testing.T) {
	const stat = "cpu  30 3 6 900 12 3 6 9 0 0\ncpu0 10 1 2 300 4 1 2 3 0 0\ncpu1 20 2 4 600 8 2 4 6 0 0\nintr 5\nctxt 7\n"
	both, n := busyTime(stat, func(int) bool { return true })
	if both != 57*tick || n != 2 { // without idle and iowait
		t.Errorf("%v of %d processors", both, n)
	}
	if one, n := busyTime(stat, func(p int) bool { return p == 1 }); one != 38*tick || n != 1 {
		t.Errorf("%v of %d processors", one, n)
	}
	if none, n := busyTime("", func(int) bool { return true }); none != 0 || n != 0 {
		t.Errorf("of a system that does not tell: %v of %d", none, n)
	}
}

func TestOthersTookWhatIsNotOwn(t *testing.T) {
	at := time.Now()
	before := Load{at: at, all: 100 * time.Second, own: 10 * time.Second, processors: 2}
	after := Load{at: at.Add(10 * time.Second), all: 116 * time.Second, own: 20 * time.Second, processors: 2}
	if share, known := after.OthersSince(before); !known || share != 0.3 {
		t.Errorf("%g (%v), want 0.3", share, known)
	}
	after.own = 30 * time.Second // ticks are coarse: more than all
	if share, known := after.OthersSince(before); !known || share != 0 {
		t.Errorf("%g (%v), want 0", share, known)
	}
	after.at = at.Add(20 * time.Millisecond)
	if _, known := after.OthersSince(before); known {
		t.Error("known after 20 ms")
	}
	if _, known := after.OthersSince(Load{at: at}); known {
		t.Error("known on a system that does not tell")
	}
}

// The work of a child is no other program's, while it runs and after it was waited for.
func TestLoadCountsChildrenAsOwn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc/stat")
	}
	before := LoadNow()
	if before.Processors() == 0 || before.Average() < 0 {
		t.Fatalf("%+v", before)
	}
	worker := exec.Command("sh", "-c", "while :; do :; done")
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	defer worker.Process.Kill()
	deadline := time.Now().Add(time.Minute)
	during := LoadNow()
	for during.own-before.own < 20*tick && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
		during = LoadNow()
	}
	if took := during.own - before.own; took < 20*tick {
		t.Fatalf("a busy child took %v", took)
	}
	_ = worker.Process.Signal(os.Kill)
	_ = worker.Wait()
	if after := LoadNow(); after.own < during.own {
		t.Errorf("own time fell from %v to %v when the child ended", during.own, after.own)
	}
}
