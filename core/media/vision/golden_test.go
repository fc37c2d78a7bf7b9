package vision

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

type golden struct {
	W, H   int
	SHA256 string
	RGB    []byte // small results only
}

// load reads the goldens that tools/goldens/vision/generate.py makes with Pillow.
func load(t *testing.T) (g struct {
	Resize []struct {
		Src, Op string
		To      [2]int
		Box     [4]int
		Want    golden
	}
	Decode []struct {
		Src        string
		Want       golden
		Tolerance  int
		Background *RGB
	}
}) {
	t.Helper()
	data := read(t, "golden.json")
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Resize) < 50 || len(g.Decode) < 15 {
		t.Fatal("too few goldens")
	}
	return g
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// compare reports a difference of more than tolerance levels.
func compare(t *testing.T, what string, got []byte, want golden, tolerance int) {
	t.Helper()
	if len(want.RGB) > 0 || tolerance > 0 {
		if len(got) != len(want.RGB) {
			t.Errorf("%s: %d bytes, want %d", what, len(got), len(want.RGB))
			return
		}
		for i := range got {
			if d := int(got[i]) - int(want.RGB[i]); d > tolerance || -d > tolerance {
				t.Errorf("%s: byte %d is %d, want %d ± %d", what, i, got[i], want.RGB[i], tolerance)
				return
			}
		}
		return
	}
	if sum := sha256.Sum256(got); hex.EncodeToString(sum[:]) != want.SHA256 {
		t.Errorf("%s: not Pillow's pixels", what)
	}
}

func TestResamplingIsPillowsBitForBit(t *testing.T) {
	var r Resizer // one for all cases: stale scratch must not show
	for _, c := range load(t).Resize {
		src, err := Decode(read(t, c.Src), Options{})
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]byte, 3*c.To[0]*c.To[1])
		switch c.Op {
		case "resize":
			r.Resize(dst, src, c.To[0], c.To[1])
		case "evaluate":
			r.Evaluate(dst, src, c.To[0])
		case "crop":
			r.Resize(dst, src.Crop(c.Box[0], c.Box[1], c.Box[2], c.Box[3]), c.To[0], c.To[1])
		}
		what, _ := json.Marshal([]any{c.Op, c.Src, c.Box, c.To})
		compare(t, string(what), dst, c.Want, 0)
	}
}

func TestDecodingIsPillows(t *testing.T) {
	for _, c := range load(t).Decode {
		p, err := Decode(read(t, c.Src), Options{Background: c.Background})
		if err != nil {
			t.Errorf("%s: %v", c.Src, err)
			continue
		}
		if p.W != c.Want.W || p.H != c.Want.H {
			t.Errorf("%s: %d × %d, want %d × %d", c.Src, p.W, p.H, c.Want.W, c.Want.H)
			continue
		}
		compare(t, c.Src, p.Pix, c.Want, c.Tolerance)
	}
}
