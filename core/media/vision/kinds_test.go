package vision

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"tandem/core/fault"
)

// kindGoldens loads what tools/goldens/vision/kinds.py makes with Pillow 13.
func kindGoldens(t *testing.T) []kindGolden {
	t.Helper()
	var g struct{ Kinds []kindGolden }
	if err := json.Unmarshal(read(t, "kinds.json"), &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Kinds) < 300 {
		t.Fatalf("only %d goldens", len(g.Kinds))
	}
	return g.Kinds
}

type kindGolden struct {
	Name       string
	File       []byte
	Read       bool // else it is refused
	W, H       int
	RGB, White string // digests of convert("RGB") and of a paste over white
}

// TestEveryKindHasPillowsPixelsOrIsRefused holds the table in docs/datasets.md.
func TestEveryKindHasPillowsPixelsOrIsRefused(t *testing.T) {
	for _, k := range kindGoldens(t) {
		if turbo.decode == nil && strings.HasPrefix(k.Name, "jpeg ") {
			continue // Go's decoder has other pixels
		}
		if avif != nil && k.Name == "avif" {
			continue // it is read where libavif is
		}
		if turbo.decode == nil && strings.HasPrefix(k.Name, "tiff jpeg") {
			k.Read = false
		}
		for _, drop := range []bool{true, false} {
			want := k.White
			if drop {
				want = k.RGB
			}
			p, err := Decode(k.File, Options{DropAlpha: drop})
			if !k.Read {
				var e *fault.Error
				if fault.KindOf(err) != fault.Unavailable || !errors.As(err, &e) || e.Hint == "" {
					t.Errorf("%s: want a refusal that says what to do, got %v", k.Name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", k.Name, err)
				continue
			}
			sum := sha256.Sum256(p.Pix)
			if p.W != k.W || p.H != k.H || hex.EncodeToString(sum[:16]) != want {
				t.Errorf("%s (alpha dropped: %v): %d × %d pixels that are not Pillow's %d × %d", k.Name, drop, p.W, p.H, k.W, k.H)
			}
		}
	}
}

func TestDamagedPixelsOfADeflatedTIFFAreFound(t *testing.T) {
	for _, k := range kindGoldens(t) {
		if k.Name != "tiff < RGB 8-bit, extra None, deflate" {
			continue
		}
		directory := binary.LittleEndian.Uint32(k.File[4:])
		k.File[directory-3] ^= 1 // in the checksum, which ends the strip before the directory
		if _, err := Decode(k.File, Options{}); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("got %v", err)
		}
		return
	}
	t.Error("the golden is not there")
}
