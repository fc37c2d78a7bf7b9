package spec

import (
	"strings"
	"testing"

	"tandem/core/fault"
)

// What plugins may do to the machine changes nothing that is computed, and is off when it is left out.
func TestGuard(t *testing.T) {
	base := loadGood(t)
	if base.Plugins.Strict() || base.Plugins.Memory != (Memory{}) {
		t.Errorf("left out: %+v", base.Plugins)
	}
	set := loadGood(t, "plugins.sandbox=strict", "plugins.memory=8 GiB", "plugins.cores=2", "plugins.log_limit=1 MiB", "plugins.read=[/tmp]")
	if !set.Plugins.Strict() || set.Plugins.Memory.Bytes != 8<<30 || set.Plugins.Cores != 2 || set.Plugins.LogLimit.Bytes != 1<<20 || set.Plugins.Read[0] != "/tmp" {
		t.Errorf("set to %+v", set.Plugins)
	}
	if set.Identity(nil) != base.Identity(nil) {
		t.Error("a guard changes the identity")
	}
	again, err := Parse("again.yaml", []byte(set.YAML(false)), Options{Begun: true})
	if err != nil || again.Plugins.Memory != set.Plugins.Memory || !again.Plugins.Strict() {
		t.Errorf("written and read again: %+v, %v", again.Plugins, err)
	}
	for _, wrong := range []string{"plugins.sandbox=loose", "plugins.log_limit=5%", "plugins.log_limit=1 kB", "plugins.cores=-1", "plugins.read=[/nowhere]"} {
		if _, err := Parse("good.yaml", []byte(base.YAML(false)), Options{Set: []string{wrong}, Begun: true}); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}

// Little room would keep nothing, and a name of digits would be taken for a place.
func TestCachesAreNotTooSmallAndSourcesHaveNames(t *testing.T) {
	const sources = "data.train=[{dataset: emoji, name: %s}, {dataset: emoji, name: b}]"
	for want, set := range map[string]string{"is too little to keep pictures in": "data.cache={format: raw, max: 500 KiB}", "could be a place in the list": strings.Replace(sources, "%s", "'1'", 1)} {
		_, err := Parse("good.yaml", []byte(loadGood(t).YAML(false)), Options{Set: []string{set}, Begun: true})
		if err == nil || !strings.Contains(fault.Format(err), want) {
			t.Errorf("%s: %v, want %q", set, err, want)
		}
	}
}
