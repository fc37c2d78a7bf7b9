package augment

import "math"

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
	turn := byte(int32(shift * 255))
	for i := 0; i+2 < len(pix); i += 3 {
		p := pix[i:][:3]
		h, s, v := hsv(p[0], p[1], p[2])
		p[0], p[1], p[2] = rgb(h+turn, s, v)
	}
}

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
