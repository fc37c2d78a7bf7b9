package sample

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"log"
	"math"
	"path/filepath"
	"sync"

	"tandem/core/clip"
	"tandem/core/data/kept"
	"tandem/core/fault"
	"tandem/core/media/vision"
)

// keeper turns decoded pictures into those that are kept on disk, and finds them there (clip.PictureCache).
//
// What is kept is a function of the picture, so that it makes no difference whether a picture was found or has just been
// decoded: without a random crop the square that evaluation takes, else the whole picture, which the format jpeg scales down
// so far that no crop has to be scaled up for it.
type keeper struct {
	store   *kept.Store // nil: nothing is kept
	content func(i int) string
	packed  bool // in JPEG
	square  int  // side of squares; 0: pictures of any shape
	side    int  // longest shorter side of those; 0: as they are
	said    sync.Once
}

// keptQuality is the quality of packed pictures.
const keptQuality = 95

// newKeeper returns the keeper that a configuration asks for, nil for none, and what a person should know of it.
func newKeeper(s *Set, c clip.DatasetConfig) (k *keeper, remarks []string) {
	if c.Cache == nil || s.Direct {
		return nil, nil
	}
	k = &keeper{content: s.Content, packed: c.Cache.Format == "jpeg"}
	kind := fmt.Sprintf("pictures 1, %s, %s, avif %s", c.Cache.Format, vision.JPEGDecoder(), vision.AVIFVersion())
	switch crop := cropParams(c.Augment); {
	case crop == nil:
		k.square = c.ImageSize
		kind += fmt.Sprintf(", squares of %d", k.square)
	case k.packed:
		k.side = int(math.Ceil(float64(c.ImageSize) / math.Sqrt(crop.Scale[0])))
		kind += fmt.Sprintf(", shorter side %d", k.side)
	}
	if k.packed {
		what := fmt.Sprintf("scaled to a shorter side of at most %d pixels", k.side)
		if k.square > 0 {
			what = fmt.Sprintf("as squares of %d pixels", k.square)
		}
		remarks = append(remarks, fmt.Sprintf("pictures are kept %s and packed as JPEG of quality %d (data.cache), which changes them a little", what, keptQuality))
	}
	switch {
	case s.Content == nil:
		remarks = append(remarks, "pictures are not kept (data.cache): this dataset cannot tell one content from another")
	case c.CacheDir == "":
		remarks = append(remarks, "pictures are not kept (data.cache): there is no cache folder")
	default:
		var err error
		if k.store, err = kept.Open(filepath.Join(c.CacheDir, "pictures"), kind, c.Cache.MaxBytes); err != nil {
			remarks = append(remarks, fmt.Sprintf("pictures are not kept (data.cache): %v", err))
		}
	}
	return k, remarks
}

// key returns the key of sample i, false when it is not kept.
func (k *keeper) key(i int) (kept.Key, bool) {
	if k.store == nil {
		return kept.Key{}, false
	}
	content := k.content(i)
	return kept.KeyOf(content), content != ""
}

// find returns the kept picture of sample i. Its memory is the tool's or may be recycled.
func (k *keeper) find(i int, t *tool) (p vision.Picture, ok bool) {
	key, ok := k.key(i)
	if !ok {
		return p, false
	}
	if t.blob, ok = k.store.Get(key, t.blob[:cap(t.blob)]); !ok {
		return p, false
	}
	p, err := k.unpack(t.blob)
	return p, err == nil
}

// unpack returns the picture that a blob holds: JPEG, or width, height and pixels.
func (k *keeper) unpack(blob []byte) (p vision.Picture, err error) {
	if k.packed {
		return vision.Decode(blob, vision.Options{MaxPixels: math.MaxInt32})
	}
	if len(blob) < 8 {
		return p, fault.New(fault.Corrupt, "a kept picture of %d bytes", len(blob))
	}
	p = vision.Picture{W: int(binary.LittleEndian.Uint32(blob)), H: int(binary.LittleEndian.Uint32(blob[4:])), Pix: blob[8:]}
	if p.Stride = 3 * p.W; p.W < 1 || p.H < 1 || len(p.Pix) != p.H*p.Stride {
		return p, fault.New(fault.Corrupt, "a kept picture of %d × %d pixels in %d bytes", p.W, p.H, len(blob))
	}
	return p, nil
}

// keep takes the decoded picture of sample i, which it may recycle, and returns the one that is kept for it.
func (k *keeper) keep(i int, p vision.Picture, t *tool) (vision.Picture, error) {
	small := k.scale(p, t)
	if small.W != p.W || small.H != p.H || k.square > 0 {
		vision.Recycle(p)
	}
	p = small
	key, named := k.key(i)
	if !named && !k.packed {
		return p, nil
	}
	t.blob = k.pack(t.blob[:0], p)
	if named && !k.store.Put(key, t.blob) {
		k.say()
	}
	if !k.packed {
		return p, nil
	}
	vision.Recycle(p)
	return k.unpack(t.blob)
}

// say tells the plugin's log once that no more is kept.
func (k *keeper) say() {
	if full, why := k.store.Full(); full {
		k.said.Do(func() {
			if why != nil {
				log.Printf("no more pictures are kept (data.cache): %v", why)
			} else {
				log.Printf("kept pictures take all that they may (data.cache.max): further ones are decoded each time")
			}
		})
	}
}

// scale returns the picture to be kept.
func (k *keeper) scale(p vision.Picture, t *tool) vision.Picture {
	if k.square > 0 {
		out := vision.NewPicture(k.square, k.square)
		t.Evaluate(out.Pix, p, k.square)
		return out
	}
	short := min(p.W, p.H)
	if k.side == 0 || short <= k.side {
		return p
	}
	w, h := p.W*k.side/short, p.H*k.side/short
	out := vision.NewPicture(w, h)
	t.Resize(out.Pix, p, w, h)
	return out
}

// pack appends the blob of a picture.
func (k *keeper) pack(blob []byte, p vision.Picture) []byte {
	if !k.packed {
		blob = binary.LittleEndian.AppendUint32(blob, uint32(p.W))
		blob = binary.LittleEndian.AppendUint32(blob, uint32(p.H))
		for y := range p.H {
			blob = append(blob, p.Row(y)...)
		}
		return blob
	}
	m := image.NewRGBA(image.Rect(0, 0, p.W, p.H)) // the encoder is slow with other types
	for y := range p.H {
		row, dst := p.Row(y), m.Pix[y*m.Stride:]
		for x := range p.W {
			dst[4*x], dst[4*x+1], dst[4*x+2], dst[4*x+3] = row[3*x], row[3*x+1], row[3*x+2], 255
		}
	}
	b := bytes.NewBuffer(blob)
	if err := jpeg.Encode(b, m, &jpeg.Options{Quality: keptQuality}); err != nil {
		panic("sample: a picture in memory does not encode: " + err.Error())
	}
	return b.Bytes()
}

func (k *keeper) close() {
	if k != nil && k.store != nil {
		k.store.Close()
	}
}
