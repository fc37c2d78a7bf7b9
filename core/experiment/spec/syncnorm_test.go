package spec

import (
	"os"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/spec/spectest"
	"tandem/core/fault"
)

// Normalising over ranks needs a tower that can, and makes another run; false makes none.
func TestSyncNormNeedsATowerThatExchanges(t *testing.T) {
	archive, err := os.ReadFile("testdata/good.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(archive), "-- in.yaml --\n")
	text, _, _ = strings.Cut(text, "-- want.yaml --\n")
	plain := spectest.Plugins(t)
	able := slices.Clone(plain)
	at := slices.IndexFunc(able, func(d clip.Descriptor) bool { return d.Kind == clip.KindEncoder && d.Name == "vit" })
	able[at].Capabilities = append(slices.Clone(able[at].Capabilities), clip.CapExchange)
	parse := func(c Catalog, set ...string) (*Spec, error) {
		return Parse("good.yaml", []byte(text), Options{Catalog: c, Set: set})
	}
	_, err = parse(plain, "train.sync_norm=true")
	if err == nil || !strings.Contains(fault.Format(err), "train.sync_norm") || !strings.Contains(fault.Format(err), "no encoder here") {
		t.Errorf("without the capability: %v", err)
	}
	_, err = parse(able, "train.sync_norm=true", "image.freeze=all")
	if err == nil || !strings.Contains(fault.Format(err), "no tower that is trained") || !strings.Contains(fault.Format(err), "encoders/vit") {
		t.Errorf("of a frozen tower: %v", err)
	}
	identity := func(set ...string) string {
		s, err := parse(able, set...)
		if err != nil {
			t.Fatal(fault.Format(err))
		}
		if want := slices.Contains(set, "train.sync_norm=true"); s.Train.SyncNorm != want {
			t.Errorf("%v: sync_norm is %v", set, s.Train.SyncNorm)
		}
		return s.Identity(nil)
	}
	if base := identity(); identity("train.sync_norm=false") != base || identity("train.sync_norm=true") == base {
		t.Error("sync_norm: false changes the identity, or true does not")
	}
	if base := identity(); identity("train.deduplicate_captions=false") != base || identity("train.deduplicate_captions=true") == base {
		t.Error("deduplicate_captions: false changes the identity, or true does not")
	}
}
