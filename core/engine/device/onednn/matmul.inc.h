// Matrix products; part of kernels.inc.h. An element of C is the sum over k in the order of k, in runs of
// DEPTH that are added up in order, whatever M, the batch and the threads are: a row's bits do not depend
// on the rows beside it. oneDNN promises nothing of the kind, and its products for AVX2 do depend.

enum { PANEL = NV * VL }; // columns of C that a block of registers holds

#if VL == 8
enum { DEPTH = 384 }; // rows of B in a run: a panel of them stays in the first cache
#else
enum { DEPTH = 512 };
#endif
// Rows of a block of A, in the scratch, are STEP apart: rows that are a multiple of a page apart, as in A
// itself, would take the same few places of the first cache.
enum { STEP = DEPTH + 16 };
_Static_assert(TD_HEIGHT % MR == 0 && STEP <= TD_STEP, "the scratch holds a block of A");

// pack moves B to where products read it in order: for each run of DEPTH rows, panels of PANEL columns
// beside each other, the last one filled up with 0. n is N, K, TransB, Batch. Args: b, packed.
static void pack_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long n = e->n[0], depth = e->n[1], panels = (n + PANEL - 1) / PANEL;
	for (long t = lo; t < hi; t++) {
		long j = t % panels * PANEL, cols = n - j < PANEL ? n - j : PANEL;
		const float *b = F(0) + t / panels * depth * n;
		float *to = F(1) + t / panels * depth * panels * PANEL;
		for (long k = 0; k < depth; k += DEPTH) {
			long kn = depth - k < DEPTH ? depth - k : DEPTH;
			float *p = to + k * panels * PANEL + j * kn;
			if (e->n[2]) {
				flip(b + j * depth + k, depth, cols, kn, p, PANEL);
				continue;
			}
			for (long x = 0; x < kn; x++, p += PANEL) {
				memcpy(p, b + (k + x) * n + j, cols * sizeof(float));
				if (cols < PANEL)
					memset(p + cols, 0, (PANEL - cols) * sizeof(float));
			}
		}
	}
}
static void pack(td_exec *e) {
	long panels = (e->n[0] + PANEL - 1) / PANEL;
	split(e, e->n[3] * panels, 2 * e->n[1] * PANEL, 1, pack_range);
}

// matmul computes a product as device.MatMul documents: n is M, N, K, TransA, activation, what to do with the
// residual, Batch, whether B is packed (else [K, N] with N a multiple of VL). Args: a, b, bias or 0, residual
// or 0, c, slope or 0. The backend's scratch holds TD_HEIGHT·TD_STEP floats for each part.

// columns_of copies a block of a transposed A, as blocks of MR rows in the order of k.
static void columns_of(const float *a, long stride, long rows, long kn, float *out) {
	for (long k = 0; k < kn; k++, a += stride)
		for (long r = 0; r < rows; r += MR) {
			float *to = out + r * kn + k * MR;
			if (rows - r >= MR) {
#pragma GCC unroll 8
				for (int i = 0; i < MR; i++)
					to[i] = a[r + i];
			} else
				for (long i = 0; r + i < rows; i++)
					to[i] = a[r + i];
		}
}

// edge does what tile does where the columns of a packed B are no whole number of vectors.
static void edge(int mr, long n, long k, const float *a, long ars, long aks, const float *b, float *c, long ldc, float alpha, int add) {
	float t[MR * PANEL];
	for (int r = 0; add && r < mr; r++)
		memcpy(t + r * PANEL, c + r * ldc, n * sizeof(float));
	tile(mr, (n + VL - 1) / VL * VL, k, a, ars, aks, b, PANEL, t, PANEL, alpha, add);
	for (int r = 0; r < mr; r++)
		memcpy(c + r * ldc, t + r * PANEL, n * sizeof(float));
}

// matmul_block computes rows top to end of panels left to right of one product of the batch.
static void matmul_block(td_exec *e, float *tmp, long item, long top, long end, long left, long right) {
	int copied = !e->n[3] && right - left >= 4; // otherwise the copy costs more than it saves
	long m = e->n[0], n = e->n[1], depth = e->n[2], packed = e->n[7], wide = (n + PANEL - 1) / PANEL * PANEL;
	int more = e->arg[2] || e->arg[3] || e->arg[5] || e->n[4];
	float alpha = (float)e->s[0], *out = F(4) + item * m * n;
	const float *a = F(0) + item * m * depth, *b = F(1) + item * depth * (packed ? wide : n);
	for (long k = 0; k < depth; k += DEPTH) {
		long kn = depth - k < DEPTH ? depth - k : DEPTH;
		int last = k + kn == depth;
		for (long i0 = top; i0 < end; i0 += TD_HEIGHT) {
			long i1 = end - i0 < TD_HEIGHT ? end : i0 + TD_HEIGHT;
			if (e->n[3])
				columns_of(a + k * m + i0, m, i1 - i0, kn, tmp);
			for (long i = i0; copied && i < i1; i++)
				memcpy(tmp + (i - i0) * STEP, a + i * depth + k, kn * sizeof(float));
			for (long j = left * PANEL; j < n && j < right * PANEL; j += PANEL) {
				long nn = n - j < PANEL ? n - j : PANEL;
				const float *bj = packed ? b + k * wide + j * kn : b + k * n + j;
				for (long i = i0; i < i1; i += MR) {
					int mr = i1 - i < MR ? (int)(i1 - i) : MR;
					const float *ai = e->n[3] ? tmp + (i - i0) * kn : copied ? tmp + (i - i0) * STEP : a + i * depth + k;
					long ars = e->n[3] ? 1 : copied ? STEP : depth, aks = e->n[3] ? MR : 1;
					float *c = out + i * n + j;
					if (nn % VL)
						edge(mr, nn, kn, ai, ars, aks, bj, c, n, alpha, k > 0);
					else
						tile(mr, nn, kn, ai, ars, aks, bj, packed ? PANEL : n, c, n, alpha, k > 0);
					for (int r = 0; last && more && r < mr; r++, c += n)
						finish_row(nn, c, 1, e->arg[2] ? F(2) + j : 0, (int)e->n[4], e->arg[5] ? F(5) + (c - F(4)) : 0,
							(int)e->n[5], e->arg[3] ? F(3) + (c - F(4)) : 0, c);
				}
			}
		}
	}
}

// The rows of a product are split over the threads and, where there are few, the panels too.
static long rows_of(td_exec *e) { return (e->n[0] + MR - 1) / MR * MR; }
static long strips(td_exec *e) {
	long panels = (e->n[1] + PANEL - 1) / PANEL, blocks = e->n[6] * rows_of(e) / MR, pieces = (long)e->be->threads * PIECES;
	long strips = e->be->threads == 1 || blocks >= pieces ? 1 : (pieces + blocks - 1) / blocks;
	return strips < panels ? strips : panels;
}

static void matmul_range(td_exec *e, int part, long lo, long hi) {
	long rows = rows_of(e), count = strips(e), panels = (e->n[1] + PANEL - 1) / PANEL;
	float *tmp = (float *)e->be->scratch + part * (long)TD_HEIGHT * TD_STEP;
	while (lo < hi) {
		long strip = lo / rows, top = lo % rows, end = top + hi - lo < rows ? top + hi - lo : rows, s = strip % count;
		lo += end - top;
		matmul_block(e, tmp, strip / count, top, end < e->n[0] ? end : e->n[0], panels * s / count, panels * (s + 1) / count);
	}
}
static void matmul(td_exec *e) {
	long count = strips(e);
	split(e, e->n[6] * count * rows_of(e), e->n[1] * e->n[2] / (8 * count) + 1, MR, matmul_range);
}
