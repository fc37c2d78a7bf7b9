package vision

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"slices"
	"strconv"
	"testing"
)

// resampleGoldens holds what tools/goldens/vision/resample.py makes with Pillow 13: digests over many sizes.
type resampleGoldens struct {
	Evaluate                                               map[int][]string
	Portrait224, Landscape224, Near64, Tall32, Tiny, Crops string
	Random                                                 []string
}

// noiseTile returns the tile of that script; pictures are windows into it.
func noiseTile() Picture {
	p := NewPicture(768, 768)
	n := uint32(12345)
	for i := range p.Pix {
		n = (n*1103515245 + 12345) & 0x7fffffff
		v := byte(n >> 16)
		if i/15%2 == 0 {
			v = -(v >> 7)
		}
		p.Pix[i] = v
	}
	return p
}

type digest struct {
	t    *testing.T
	hash hash.Hash
	r    *Resizer
	tile Picture
}

func newDigest(t *testing.T, tile Picture) *digest {
	return &digest{t, sha256.New(), new(Resizer), tile}
}

func (d *digest) picture(w, h int) Picture { return d.tile.Crop(w%7, h%5, w, h) }

func (d *digest) evaluate(w, h, side int) {
	dst := make([]byte, 3*side*side)
	d.r.Evaluate(dst, d.picture(w, h), side)
	d.hash.Write(dst)
}

func (d *digest) resize(p Picture, w, h int) {
	dst := make([]byte, 3*w*h)
	d.r.Resize(dst, p, w, h)
	d.hash.Write(dst)
}

func (d *digest) want(what, sum string) {
	d.t.Helper()
	if got := hex.EncodeToString(d.hash.Sum(nil)); got != sum {
		d.t.Errorf("%s: not Pillow's pixels", what)
	}
	d.hash.Reset()
}

func TestResamplingIsPillowsAtAllSizes(t *testing.T) {
	var g resampleGoldens
	if err := json.Unmarshal(read(t, "resample.json"), &g); err != nil {
		t.Fatal(err)
	}
	defer func(was bool) { vectorised = was }(vectorised)
	ways := []bool{false}
	if vectorised {
		ways = []bool{true, false}
	}
	for _, vectorised = range ways {
		testAllSizes(t, g)
	}
}

func testAllSizes(t *testing.T, g resampleGoldens) {
	d := newDigest(t, noiseTile())
	for side, sums := range g.Evaluate {
		for i, sum := range sums {
			for h := 1; h <= 40; h++ {
				d.evaluate(i+1, h, side)
			}
			d.want("the centre crop of side "+strconv.Itoa(side)+" of pictures "+strconv.Itoa(i+1)+" wide", sum)
		}
	}
	for long := 224; long <= 740; long++ {
		d.evaluate(224, long, 224)
	}
	d.want("portraits 224 wide", g.Portrait224)
	for long := 224; long <= 740; long++ {
		d.evaluate(long, 224, 224)
	}
	d.want("landscapes 224 high", g.Landscape224)
	for w := 61; w < 68; w++ {
		for h := 61; h < 68; h++ {
			d.evaluate(w, h, 64)
		}
	}
	d.want("pictures of about 64", g.Near64)
	for _, w := range []int{31, 32, 33, 50, 64} {
		for h := 60; h < 400; h += 7 {
			d.evaluate(w, h, 32)
		}
	}
	d.want("tall pictures", g.Tall32)
	for n := range 9 * 9 * 9 * 9 {
		d.resize(d.picture(n/729+1, n/81%9+1), n/9%9+1, n%9+1)
	}
	d.want("pictures up to 9 × 9", g.Tiny)
	whole := d.picture(23, 31)
	for w := 1; w <= 23; w++ {
		for h := 1; h <= 31; h++ {
			d.resize(whole.Crop((23-w)/2, 31-h, w, h), 9, 9)
		}
	}
	d.want("crops", g.Crops)
	seed := uint32(7)
	next := func(below uint32) int {
		seed = (seed*1103515245 + 12345) & 0x7fffffff
		return int(seed>>12)%int(below) + 1
	}
	for i, sum := range g.Random {
		for range 100 {
			w, h, tw, th := next(120), next(400), next(90), next(90)
			d.resize(d.picture(w, h), tw, th)
		}
		d.want("random sizes, part "+strconv.Itoa(i), sum)
	}
}

// TestEveryWindowIsAPartOfTheWhole holds each window to the whole scaled picture.
func TestEveryWindowIsAPartOfTheWhole(t *testing.T) {
	tile := noiseTile()
	var r Resizer
	for _, c := range [][4]int{{9, 14, 9, 14}, {9, 14, 9, 6}, {9, 14, 5, 14}, {12, 40, 8, 9}, {40, 12, 8, 9}, {8, 9, 12, 40}, {5, 33, 6, 4}} {
		src, w, h := tile.Crop(3, 5, c[0], c[1]), c[2], c[3]
		whole := NewPicture(w, h)
		r.Resize(whole.Pix, src, w, h)
		for x := range w {
			for y := range h {
				for _, size := range [][2]int{{1, 1}, {w - x, h - y}, {1, h - y}, {w - x, 1}, {(w - x + 1) / 2, (h - y + 1) / 2}} {
					got := make([]byte, 3*size[0]*size[1])
					r.Window(got, src, w, h, x, y, size[0], size[1])
					var want []byte
					part := whole.Crop(x, y, size[0], size[1])
					for row := range part.H {
						want = append(want, part.Row(row)...)
					}
					if !slices.Equal(got, want) {
						t.Fatalf("%v: the window at %d,%d of %v is another", c, x, y, size)
					}
				}
			}
		}
	}
}
