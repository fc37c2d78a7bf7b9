// What the convolutions share: where a window of the map lies.
//
// A convolution is a product: its rows are pixels of the map that is written, its columns channels, and it sums
// over K = KH·KW·channels of the map that is read, in the order (ky, kx, c). Nothing is unfolded in memory: a
// tile of windows is gathered when it is loaded.
#pragma once
#include "quad.cuh"

// map_sizes are of the map that is read, [B, H, W, C], and of the pixels [B, rows, columns] that are written.
// back: these are dy and dx, else x and y.
struct map_sizes {
	int H, W, C, rows, columns, KH, KW, stride, pad;
	bool back;
};

// tap is a place in a window.
struct tap {
	int ky, kx, c;
};

DEVICE tap tap_of(i64 k, const map_sizes &z) {
	const unsigned at = (unsigned)k, pixel = at / (unsigned)z.C;
	return {(int)(pixel / (unsigned)z.KW), (int)(pixel % (unsigned)z.KW), (int)(at % (unsigned)z.C)};
}

// advance moves a tap n numbers on.
DEVICE void advance(tap &t, int n, const map_sizes &z) {
	t.c += n;
	while (t.c >= z.C) {
		t.c -= z.C;
		if (++t.kx == z.KW) t.kx = 0, t.ky++;
	}
}

// window is where the window of a pixel begins; in the backward pass, where it ends.
struct window {
	i64 picture; // first number of its picture in the map that is read
	int y, x;
	bool in; // there is such a pixel
};

// place is a pixel of the map that is written.
struct place {
	int picture, y, x;
};

DEVICE place place_of(i64 pixel, const map_sizes &z) {
	const i64 row = pixel / z.columns;
	return {(int)(row / z.rows), (int)(row % z.rows), (int)(pixel % z.columns)};
}

// advance moves a place n pixels on.
DEVICE void advance(place &p, int n, const map_sizes &z) {
	p.x += n;
	while (p.x >= z.columns) {
		p.x -= z.columns;
		if (++p.y == z.rows) p.y = 0, p.picture++;
	}
}

DEVICE window window_of(const place &p, bool in, const map_sizes &z) {
	window w;
	w.in = in;
	w.picture = (i64)p.picture * z.H * z.W * z.C;
	w.y = z.back ? p.y + z.pad : p.y * z.stride - z.pad;
	w.x = z.back ? p.x + z.pad : p.x * z.stride - z.pad;
	return w;
}

// number_at is the offset in its picture of a tap's number, or −1 where that is padding, or between the pixels of
// a stride.
DEVICE int number_at(const window &w, const tap &t, const map_sizes &z) {
	int y = w.y + t.ky, x = w.x + t.kx;
	if (z.back) {
		y = w.y - t.ky, x = w.x - t.kx;
		if (z.stride > 1) {
			if (y < 0 || x < 0 || y % z.stride || x % z.stride) return -1;
			y /= z.stride, x /= z.stride;
		}
	}
	const bool in = w.in && t.ky < z.KH && y >= 0 && y < z.H && x >= 0 && x < z.W;
	return in ? (y * z.W + x) * z.C + t.c : -1;
}
