package spec

import (
	"strings"
	"testing"
	"time"
)

// A limit is written in seconds, minutes or hours, and changes nothing that is computed.
func TestTimeouts(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "90": 90 * time.Second, "90 s": 90 * time.Second, "10 min": 10 * time.Minute,
		"2 minutes": 2 * time.Minute, "1.5 h": 90 * time.Minute, "1 hour": time.Hour} {
		if got, err := ParseTimeout(text); err != nil || time.Duration(got) != want {
			t.Errorf("%q is %v, %v, want %v", text, time.Duration(got), err, want)
		}
	}
	for _, text := range []string{"", "s", "-1", "1 day", "0.5", "1e9 s", "9999999 h"} {
		if got, err := ParseTimeout(text); err == nil {
			t.Errorf("%q is %v, want an error", text, got)
		}
	}
	base := loadGood(t)
	if base.Limits().Compute != Timeout(30*time.Minute) || base.Limits().Start != Timeout(time.Minute) {
		t.Errorf("defaults are %+v", base.Limits())
	}
	set := loadGood(t, "timeouts.compute=5 min", "timeouts.batch=0")
	if set.Limits().Compute != Timeout(5*time.Minute) || set.Limits().Batch != 0 {
		t.Errorf("set to %+v", set.Limits())
	}
	if set.Identity(nil) != base.Identity(nil) {
		t.Error("a limit changes the identity")
	}
	again, err := Parse("again.yaml", []byte(set.YAML(false)), Options{Begun: true})
	if err != nil || again.Limits() != set.Limits() || !strings.Contains(set.YAML(false), "compute: 300") {
		t.Errorf("written and read again: %+v, %v", again, err)
	}
}
