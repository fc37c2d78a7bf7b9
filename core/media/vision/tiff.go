package vision

import (
	"encoding/binary"

	"tandem/core/fault"
)

// The tags of TIFF that say what pixels are.
const (
	tagWidth, tagHeight, tagBits, tagPacking, tagPhotometric, tagFillOrder = 256, 257, 258, 259, 262, 266
	tagStripOffsets, tagOrientation, tagSamples, tagRows, tagStripBytes    = 273, 274, 277, 278, 279
	tagPlanar, tagFaxOptions, tagPredictor, tagColours                     = 284, 292, 317, 320
	tagTileWidth, tagTileHeight, tagTileOffsets, tagTileBytes              = 322, 323, 324, 325
	tagExtra, tagFormat, tagJPEGTables                                     = 338, 339, 347
)

// tiffFile holds the first directory of a TIFF or BigTIFF file.
type tiffFile struct {
	data  []byte
	order binary.ByteOrder
	tags  map[int]tiffTag

	w, h             int
	photometric      int
	bits, samples    int // bits of each sample, samples of a pixel with those that are not read
	extra            []uint64
	packing          int
	planar, reversed bool
	predictor        int
	palette          []byte // R, G, B of 8 bits

	tw, th         int // of a tile, or of a strip
	offsets, sizes tiffTag
}

// tiffTag holds an entry: numbers in the file, which are read when they are needed.
type tiffTag struct {
	kind, count int
	raw         []byte
}

var tiffSizes = map[int]int{1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 18: 8}

// parseTIFF reads the first directory. Values stay where they are, so that neither many tags nor large ones
// cost anything, and no second directory is looked at.
func parseTIFF(data []byte) (f *tiffFile, err error) {
	f = &tiffFile{data: data, order: binary.LittleEndian, tags: map[int]tiffTag{}}
	if data[0] == 'M' {
		f.order = binary.BigEndian
	}
	short := func(what string) error { return truncated("tiff: truncated: %s", what) }
	big := f.order.Uint16(data[2:]) == 43
	word, entry, at := 4, 12, uint64(0)
	switch {
	case big && len(data) >= 16:
		word, entry, at = 8, 20, f.order.Uint64(data[8:])
	case !big && len(data) >= 8:
		at = uint64(f.order.Uint32(data[4:]))
	default:
		return nil, short("header")
	}
	number := func(b []byte) uint64 {
		if big {
			return f.order.Uint64(b)
		}
		return uint64(f.order.Uint32(b))
	}
	counter := 2
	if big {
		counter = 8
	}
	if at > uint64(len(data)) || uint64(len(data))-at < uint64(counter) {
		return nil, short("directory")
	}
	list := data[at:]
	count := uint64(f.order.Uint16(list))
	if big {
		count = f.order.Uint64(list)
	}
	list = list[counter:]
	if count > 65535 || uint64(len(list)) < count*uint64(entry) {
		return nil, short("directory")
	}
	for range count {
		e := list[:entry]
		list = list[entry:]
		tag, kind, n := int(f.order.Uint16(e)), int(f.order.Uint16(e[2:])), number(e[4:])
		size := tiffSizes[kind]
		if _, twice := f.tags[tag]; twice || size == 0 {
			continue // the first counts; fractions say nothing of pixels
		}
		raw := e[4+word:]
		if n > uint64(len(data)) {
			return nil, short("a tag's values")
		}
		if bytes := n * uint64(size); bytes > uint64(word) {
			from := number(raw)
			if from > uint64(len(data)) || bytes > uint64(len(data))-from {
				if tag >= tagWidth && tag <= tagJPEGTables {
					return nil, short("a tag's values")
				}
				continue
			}
			raw = data[from:]
		}
		f.tags[tag] = tiffTag{kind, int(n), raw[:n*uint64(size)]}
	}
	return f, nil
}

// at returns value i of a tag.
func (f *tiffFile) at(t tiffTag, i int) uint64 {
	switch b := t.raw[i*tiffSizes[t.kind]:]; tiffSizes[t.kind] {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(f.order.Uint16(b))
	case 4:
		return uint64(f.order.Uint32(b))
	default:
		return f.order.Uint64(b)
	}
}

// value returns the first value of a tag, or otherwise when the file lacks the tag.
func (f *tiffFile) value(tag, otherwise int) int {
	if t, ok := f.tags[tag]; ok && t.count > 0 {
		return int(min(f.at(t, 0), 1<<40))
	}
	return otherwise
}

// uniform returns the value that all of a tag's values have, and false when they differ.
func (f *tiffFile) uniform(tag, otherwise int) (int, bool) {
	t := f.tags[tag]
	for i := 1; i < min(t.count, 16); i++ {
		if f.at(t, i) != f.at(t, 0) {
			return 0, false
		}
	}
	return f.value(tag, otherwise), true
}

// decodeTIFF reads the first page, as Pillow does: strips or tiles of any of the packings below, and then
// turned as its orientation says.
func decodeTIFF(data []byte, o Options) (Picture, error) {
	f, err := parseTIFF(data)
	if err != nil {
		return Picture{}, err
	}
	if err := f.checkKind(o); err != nil {
		return Picture{}, err
	}
	p, err := f.pixels(&o)
	if err != nil {
		return Picture{}, err
	}
	return orient(p, f.value(tagOrientation, 1)), nil
}

// checkKind checks that the page is of a kind that is read.
func (f *tiffFile) checkKind(o Options) error {
	f.w, f.h = f.value(tagWidth, 0), f.value(tagHeight, 0)
	if err := o.check(f.w, f.h); err != nil {
		return err
	}
	f.packing, f.photometric = f.value(tagPacking, 1), f.value(tagPhotometric, 0)
	f.planar, f.reversed = f.value(tagPlanar, 1) == 2, f.value(tagFillOrder, 1) == 2
	f.predictor = f.value(tagPredictor, 1)
	if format, ok := f.uniform(tagFormat, 1); !ok || format != 1 {
		return errNotRead("tiff", "a sample that is not a whole number without sign (SampleFormat %d)", f.value(tagFormat, 1))
	}
	var ok bool
	if f.bits, ok = f.uniform(tagBits, 1); !ok {
		return errNotRead("tiff", "a pixel with samples of different sizes")
	}
	f.samples = f.value(tagSamples, 1)
	if f.packing == 7 && f.tags[tagSamples].count == 0 && (f.photometric == 2 || f.photometric == 6) {
		f.samples = 3
	}
	extra := f.tags[tagExtra]
	for i := range min(extra.count, 8) {
		f.extra = append(f.extra, f.at(extra, i))
	}
	if f.samples < 1 || f.samples > 6 {
		return errNotRead("tiff", "a pixel of %d samples", f.samples)
	}
	if err := f.checkPacking(); err != nil {
		return err
	}
	if err := f.checkLayout(); err != nil {
		return err
	}
	if err := f.findParts(); err != nil {
		return err
	}
	return o.check(f.tw, f.th)
}

var tiffPackings = map[int]string{2: "CCITT run-length packing", 6: "old-style JPEG packing", 9: "JBIG packing", 10: "JBIG packing",
	32771: "16-bit padding", 32809: "ThunderScan packing", 34661: "JBIG packing", 34676: "SGI log packing", 34677: "SGI log packing",
	34712: "JPEG 2000 packing", 34887: "LERC packing", 34925: "LZMA packing", 50000: "Zstandard packing", 50001: "WebP packing"}

// checkPacking checks that the packing is read for these samples.
func (f *tiffFile) checkPacking() error {
	switch f.packing {
	case 1, 5, 8, 32773, 32946:
	case 3, 4:
		if f.bits != 1 || f.samples != 1 {
			return fault.New(fault.Corrupt, "tiff: fax packing of %d samples of %d bits", f.samples, f.bits)
		}
		if f.packing == 3 && f.value(tagFaxOptions, 0)&1 != 0 {
			return errNotRead("tiff", "two-dimensional Group 3 packing")
		}
	case 7:
		if turbo.decode == nil {
			return errNotRead("tiff", "JPEG packing, without libjpeg-turbo,")
		}
		if f.bits != 8 || f.planar || f.reversed || f.samples != 1 && f.samples != 3 {
			return errNotRead("tiff", "JPEG packing of %d samples of %d bits", f.samples, f.bits)
		}
	default:
		if name := tiffPackings[f.packing]; name != "" {
			return errNotRead("tiff", "%s", name)
		}
		return errNotRead("tiff", "packing %d", f.packing)
	}
	switch f.predictor {
	case 1:
	case 2:
		if (f.packing == 5 || f.packing == 8 || f.packing == 32946) && f.bits != 8 && f.bits != 16 {
			return errNotRead("tiff", "a predictor of samples of %d bits", f.bits)
		}
	default:
		return errNotRead("tiff", "predictor %d", f.predictor)
	}
	return nil
}

// checkLayout checks that the samples of a pixel are ones that are read.
func (f *tiffFile) checkLayout() error {
	colour := map[int]int{0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}[f.photometric]
	beside := f.samples - colour
	first := uint64(0)
	if len(f.extra) > 0 {
		first = f.extra[0]
	}
	name := map[int]string{0: "grey (white is 0)", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "Lab", 10: "Lab", 32803: "colour filter array"}[f.photometric]
	refuse := errNotRead("tiff", "a pixel of photometric %d %s, %d samples of %d bits, extra samples %v,", f.photometric, name, f.samples, f.bits, f.extra)
	switch {
	case colour == 0, beside < 0, f.photometric == 6 && f.packing != 7:
		return refuse
	case f.photometric == 0 && (beside > 0 || f.bits > 8):
		return refuse
	case f.photometric == 2 && beside == 1 && len(f.extra) == 0: // alpha, though not said
		f.extra = []uint64{2}
	case len(f.extra) != beside, first > 2 && first != 999, first == 999 && beside > 1:
		return refuse
	}
	for _, e := range f.extra[min(1, len(f.extra)):] {
		if e != 0 {
			return refuse
		}
	}
	if f.planar && beside > 0 && first != 0 {
		return refuse
	}
	small := f.bits == 1 || f.bits == 2 || f.bits == 4
	switch f.photometric {
	case 0, 1:
		if first == 1 || beside > 1 || beside == 1 && f.bits != 8 || !small && f.bits != 8 && f.bits != 12 && f.bits != 16 {
			return refuse
		}
		if f.bits == 12 && (f.order == binary.ByteOrder(binary.BigEndian) || f.reversed || f.packing != 1) || f.bits == 16 && f.reversed {
			return refuse
		}
	case 2:
		if f.bits != 8 && (f.bits != 16 || f.reversed || beside > 1) || f.reversed && beside > 0 {
			return refuse
		}
	case 3:
		if f.bits != 8 && (!small || beside > 0) || beside > 1 || first == 1 {
			return refuse
		}
		return f.readPalette()
	case 5:
		if f.bits != 8 && (f.bits != 16 || beside > 0) || f.reversed || first != 0 {
			return refuse
		}
	case 6:
		if f.bits != 8 || beside > 0 {
			return refuse
		}
	}
	return nil
}

func (f *tiffFile) readPalette() error {
	t, n := f.tags[tagColours], 1<<f.bits
	if t.count != 3*n {
		return fault.New(fault.Corrupt, "tiff: palette of %d values, want %d", t.count, 3*n)
	}
	f.palette = make([]byte, 3*n)
	for i := range n {
		for c := range 3 {
			f.palette[3*i+c] = byte(f.at(t, c*n+i) >> 8)
		}
	}
	return nil
}

// findParts finds the strips or tiles.
func (f *tiffFile) findParts() error {
	var tiled bool
	if f.offsets, tiled = f.tags[tagTileOffsets]; tiled && f.tags[tagStripOffsets].count == 0 {
		f.sizes, f.tw, f.th = f.tags[tagTileBytes], f.value(tagTileWidth, 0), f.value(tagTileHeight, 0)
	} else {
		f.offsets, f.sizes, f.tw, f.th = f.tags[tagStripOffsets], f.tags[tagStripBytes], f.w, min(f.value(tagRows, f.h), f.h)
	}
	if f.tw < 1 || f.th < 1 || f.tw > 1<<20 && f.tw != f.w || f.th > 1<<20 && f.th != f.h {
		return fault.New(fault.Corrupt, "tiff: parts of %d × %d pixels", f.tw, f.th)
	}
	planes := 1
	if f.planar {
		planes = f.samples
	}
	want := ((f.w + f.tw - 1) / f.tw) * ((f.h + f.th - 1) / f.th) * planes
	if f.offsets.count < want {
		return fault.New(fault.Corrupt, "tiff: %d parts, want %d", f.offsets.count, want)
	}
	if f.sizes.count < want && (f.packing != 1 || f.sizes.count > 0) {
		return fault.New(fault.Corrupt, "tiff: the lengths of %d parts, want %d", f.sizes.count, want)
	}
	return nil
}
