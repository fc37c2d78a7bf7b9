package augment

import (
	"math"
	"sync"
)

// grey returns a pixel's luma as Pillow's convert("L").
func grey(p []byte) byte {
	return byte((uint32(p[0])*19595 + uint32(p[1])*38470 + uint32(p[2])*7471 + 0x8000) >> 16)
}

// blend returns Pillow's mixture of two samples, in single precision: a for factor 0, b for 1, beyond them outside these.
func blend(a, b byte, factor float32) byte {
	v := float32(a) + float32(factor*float32(int32(b)-int32(a)))
	if v <= 0 {
		return 0
	}
	if v >= 255 {
		return 255
	}
	return byte(int32(v))
}

// lookUp replaces each sample by its entry of a table.
func lookUp(pix []byte, table *[256]byte) {
	for i, v := range pix {
		pix[i] = table[v]
	}
}

// brightness mixes the picture with black: factor 0 is black, 1 the picture, more is brighter.
func brightness(pix []byte, factor float64) { mixWith(pix, 0, factor) }

// contrast mixes the picture with the mean of its luma, rounded: factor 0 is that grey, 1 the picture.
func contrast(pix []byte, factor float64) {
	sum := 0
	for i := 0; i+2 < len(pix); i += 3 {
		sum += int(grey(pix[i:]))
	}
	mean := float64(sum) / float64(max(1, len(pix)/3))
	mixWith(pix, byte(mean+.5), factor)
}

func mixWith(pix []byte, level byte, factor float64) {
	var table [256]byte
	for v := range table {
		table[v] = blend(level, byte(v), float32(factor))
	}
	lookUp(pix, &table)
}

// saturation mixes the picture with its luma: factor 0 is grey, 1 the picture, more is more colourful.
func saturation(pix []byte, factor float64) {
	f := float32(factor)
	for i := 0; i+2 < len(pix); i += 3 {
		p := pix[i:][:3]
		l := grey(p)
		p[0], p[1], p[2] = blend(l, p[0], f), blend(l, p[1], f), blend(l, p[2], f)
	}
}

// grayscale gives each pixel its luma.
func grayscale(pix []byte) {
	for i := 0; i+2 < len(pix); i += 3 {
		p := pix[i:][:3]
		l := grey(p)
		p[0], p[1], p[2] = l, l, l
	}
}

// turnHue turns the colours by shift, from -.5 to .5 of the colour circle, as Pillow's conversions to HSV of 8 bits and back.
func turnHue(pix []byte, shift float64) {
	t := colours()
	turn := byte(int32(shift * 255))
	for i := 0; i+2 < len(pix); i += 3 {
		p := pix[i:][:3]
		r, g, b := p[0], p[1], p[2]
		// The hue depends on the order of the three, their span, and where the middle one is between the others.
		var high, mid, low, order byte
		switch {
		case r >= g && r >= b && g >= b:
			high, mid, low, order = r, g, b, 0
		case r >= g && r >= b:
			high, mid, low, order = r, b, g, 1
		case g >= b && r >= b:
			high, mid, low, order = g, r, b, 2
		case g >= b:
			high, mid, low, order = g, b, r, 3
		case r >= g:
			high, mid, low, order = b, r, g, 4
		default:
			high, mid, low, order = b, g, r, 5
		}
		if high == low {
			continue // grey stays
		}
		span := high - low
		h := t.hue[int(order)<<16|int(span)<<8|int(high-mid)] + turn
		s := t.saturation[int(span)<<8|int(high)]
		if s == 0 {
			p[0], p[1], p[2] = high, high, high
			continue
		}
		least := t.least[int(s)<<8|int(high)]
		// One of the three is the value, one the least, and the middle one lies between them.
		fs, f := t.share[s], t.within[h]
		between := float64(high) * (1 - float64(float32(fs*float32(f))))
		if t.sector[h]&1 == 0 {
			between = float64(high) * (1 - float64(float64(fs)*(1-f)))
		}
		m := byte(between + .5)
		switch t.sector[h] {
		case 0:
			p[0], p[1], p[2] = high, m, least
		case 1:
			p[0], p[1], p[2] = m, high, least
		case 2:
			p[0], p[1], p[2] = least, high, m
		case 3:
			p[0], p[1], p[2] = least, m, high
		case 4:
			p[0], p[1], p[2] = m, least, high
		default:
			p[0], p[1], p[2] = high, least, m
		}
	}
}

// colourTables holds what hsv and rgb make of parts of a colour.
type colourTables struct {
	hue        []byte // by order of the channels, span, distance of the middle one from the highest
	saturation []byte // by span and highest
	least      []byte // by saturation and value
	share      [256]float32
	within     [256]float64 // a sector of the circle, by hue
	sector     [256]byte
}

var colours = sync.OnceValue(func() *colourTables {
	t := &colourTables{hue: make([]byte, 6<<16), saturation: make([]byte, 1<<16), least: make([]byte, 1<<16)}
	for span := 1; span < 256; span++ {
		for d := 0; d <= span; d++ {
			high, mid, low := byte(255), byte(255-d), byte(255-span)
			for order, c := range [6][3]byte{{high, mid, low}, {high, low, mid}, {mid, high, low}, {low, high, mid}, {mid, low, high}, {low, mid, high}} {
				t.hue[order<<16|span<<8|d], _, _ = hsv(c[0], c[1], c[2])
			}
		}
		for high := span; high < 256; high++ {
			_, t.saturation[span<<8|high], _ = hsv(byte(high), byte(high-span), byte(high-span))
		}
	}
	for s := range 256 {
		t.share[s] = float32(float64(s) / 255)
		for v := range 256 {
			_, _, t.least[s<<8|v] = rgb(0, byte(s), byte(v))
		}
	}
	for h := range 256 {
		sector := math.Floor(float64(float32(h)) * 6 / 255)
		t.within[h] = float64(float32(float64(h)*6/255 - float64(float32(sector))))
		t.sector[h] = byte(int(sector) % 6)
	}
	return t
})

// hsv converts a colour, with Pillow's roundings. The conversions to float32 and float64 stand where its C has them.
func hsv(r, g, b byte) (h, s, v byte) {
	high, low := max(r, g, b), min(r, g, b)
	if high == low {
		return 0, 0, high
	}
	span := float32(high - low)
	sat := span / float32(high)
	rc, gc, bc := float32(high-r)/span, float32(high-g)/span, float32(high-b)/span
	var hue float32
	switch high {
	case r:
		hue = bc - gc
	case g:
		hue = float32(2 + float64(rc) - float64(bc))
	default:
		hue = float32(4 + float64(gc) - float64(rc))
	}
	turn := float64(hue)/6 + 1 // from 5/6 to 11/6
	if turn >= 1 {
		turn--
	}
	return byte(min(255, int(float64(float32(turn))*255))), byte(min(255, int(float64(sat)*255))), high
}

// rgb converts a colour back, with Pillow's roundings.
func rgb(h, s, v byte) (r, g, b byte) {
	if s == 0 {
		return v, v, v
	}
	sector := math.Floor(float64(float32(h)) * 6 / 255)
	f := float64(float32(float64(h)*6/255 - float64(float32(sector))))
	fs, val := float64(float32(float64(s)/255)), float64(v)
	p := clip(math.Round(val * (1 - fs)))
	q := clip(math.Round(val * (1 - float64(float32(fs)*float32(f)))))
	t := clip(math.Round(val * (1 - float64(fs*(1-f)))))
	switch int(sector) % 6 {
	case 0:
		return v, t, p
	case 1:
		return q, v, p
	case 2:
		return p, v, t
	case 3:
		return p, q, v
	case 4:
		return t, p, v
	}
	return v, p, q
}

func clip(v float64) byte { return byte(min(max(v, 0), 255)) }

// posterize keeps the upper bits of each sample, 1 to 8 of them.
func posterize(pix []byte, bits int) {
	mask := byte(0xff << (8 - bits))
	for i := range pix {
		pix[i] &= mask
	}
}

// solarize inverts the samples that are not under a threshold.
func solarize(pix []byte, threshold float64) {
	var table [256]byte
	for v := range table {
		table[v] = byte(v)
		if float64(v) >= threshold {
			table[v] = byte(255 - v)
		}
	}
	lookUp(pix, &table)
}

// histograms counts the samples of each channel by value.
func histograms(pix []byte) (h [3][256]int) {
	for i := 0; i+2 < len(pix); i += 3 {
		h[0][pix[i]]++
		h[1][pix[i+1]]++
		h[2][pix[i+2]]++
	}
	return h
}

// lookUpEach replaces the samples of each channel by a table of its own.
func lookUpEach(pix []byte, tables *[3][256]byte) {
	for i := 0; i+2 < len(pix); i += 3 {
		p := pix[i:][:3]
		p[0], p[1], p[2] = tables[0][p[0]], tables[1][p[1]], tables[2][p[2]]
	}
}

// autoContrast stretches each channel so that its least value becomes 0 and its greatest 255.
func autoContrast(pix []byte) {
	h := histograms(pix)
	var tables [3][256]byte
	for c := range tables {
		lo, hi := 0, 255
		for lo < 255 && h[c][lo] == 0 {
			lo++
		}
		for hi > 0 && h[c][hi] == 0 {
			hi--
		}
		scale := 255 / float64(max(1, hi-lo))
		offset := float64(-lo) * scale
		for v := range tables[c] {
			tables[c][v] = byte(v)
			if hi > lo {
				tables[c][v] = byte(min(max(int(float64(float64(v)*scale)+offset), 0), 255))
			}
		}
	}
	lookUpEach(pix, &tables)
}

// equalize makes the values of each channel about equally frequent.
func equalize(pix []byte) {
	h := histograms(pix)
	var tables [3][256]byte
	for c := range tables {
		values, last := 0, 0
		for _, n := range h[c] {
			if n > 0 {
				values, last = values+1, n
			}
		}
		step := (len(pix)/3 - last) / 255
		sum := step / 2
		for v := range tables[c] {
			tables[c][v] = byte(v)
			if values > 1 && step > 0 {
				tables[c][v] = byte(min(sum/step, 255))
				sum += h[c][v]
			}
		}
	}
	lookUpEach(pix, &tables)
}
