// Matrix products; part of kernels.inc.h. An element of C is the sum over k in the order of k, in runs of
// DEPTH that are added up in order, whatever M, the batch and the threads are: a row's bits do not depend
// on the rows beside it. oneDNN promises nothing of the kind, and its products for AVX2 do depend.

#if VL == 8
enum { DEPTH = 384 }; // rows of B in a run: a panel of them stays in the first cache
#else
enum { DEPTH = 512 };
#endif
// Where rows of A are a multiple of PAGE floats apart they take the same few places of the first cache. A block of them is
// copied to the scratch, where they are STEP apart.
enum { STEP = DEPTH + 16, PAGE = 1024 };
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
			long x = 0;
			for (; x < kn && cols == PANEL; x++, p += PANEL)
				for (int v = 0; v < PANEL; v += VL) {
					if (v % 16 == 0)
						__builtin_prefetch(b + (k + x + 32) * n + j + v, 0, 2);
					V(p + v) = V(b + (k + x) * n + j + v);
				}
			for (; x < kn; x++, p += PANEL) {
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
// residual, Batch, whether B is packed (else [K, N] with N a multiple of VL), and strips, filled in by the first run. Args: a, b, bias or 0, residual
// or 0, c, slope or 0, row sums of op(A) or 0. The backend's scratch holds TD_HEIGHT·TD_STEP floats for each part.

// A vector of eight floats holds a row of a block of MR columns and the two beside it.
#if VL > 4
typedef float oct __attribute__((vector_size(32), aligned(4), may_alias));
#endif

// columns_of copies a block of a transposed A, as blocks of MR rows in the order of k. It takes COLUMNS rows of the memory
// at a time, which stay in the first cache while their blocks are written one after another.
enum { COLUMNS = 32 };
static void columns_of(const float *a, long stride, long rows, long kn, float *out) {
	for (long k0 = 0; k0 < kn; k0 += COLUMNS) {
		long k1 = kn - k0 < COLUMNS ? kn : k0 + COLUMNS;
		for (long k = k1; k < k1 + COLUMNS && k < kn; k++)
			for (long j = 0; j < rows; j += 16)
				__builtin_prefetch(a + k * stride + j, 0, 2);
		for (long r = 0; r < rows; r += MR) {
			const float *x = a + k0 * stride + r;
			float *to = out + r * kn + k0 * MR;
			long k = k0;
#if VL > 4
			if (r + 8 <= rows)
				for (; k + 1 < k1; k++, x += stride, to += MR)
					*(oct *)to = *(const oct *)x; // the next k overwrites the two that are too many
#endif
			if (rows - r >= MR)
				for (; k < k1; k++, x += stride, to += MR)
#pragma GCC unroll 8
					for (int i = 0; i < MR; i++)
						to[i] = x[i];
			for (; k < k1; k++, x += stride, to += MR)
				for (long i = 0; r + i < rows; i++)
					to[i] = x[i];
		}
	}
}

// add_rows adds rows of a transposed block of A up, in runs of COLUMNS.
static void add_rows(const float *a, long stride, long rows, long kn, float *sums) {
	for (long k0 = 0; k0 < kn; k0 += COLUMNS) {
		long k1 = kn - k0 < COLUMNS ? kn : k0 + COLUMNS, r = 0;
		for (; r + VL <= rows; r += VL) {
			vec s = {0};
			for (long k = k0; k < k1; k++)
				s += V(a + k * stride + r);
			V(sums + r) += s;
		}
		for (; r < rows; r++) {
			float s = 0;
			for (long k = k0; k < k1; k++)
				s += a[k * stride + r];
			sums[r] += s;
		}
	}
}

// edge does what tile does where the columns of a packed B are no whole number of vectors.
static void edge(int mr, long n, long k, const float *a, long ars, long aks, const float *b, float *c, long ldc, float alpha, int add) {
	float t[MR * PANEL];
	for (int r = 0; add && r < mr; r++)
		memcpy(t + r * PANEL, c + r * ldc, n * sizeof(float));
	tile(mr, whole(n), k, a, ars, aks, b, PANEL, t, PANEL, alpha, add);
	for (int r = 0; r < mr; r++)
		memcpy(c + r * ldc, t + r * PANEL, n * sizeof(float));
}

// fetch_rest asks for what finish_row needs for a tile of C that begins at a number of C.
static inline void fetch_rest(td_exec *e, long at, int rows, long cols) {
	for (int r = 0; r < rows; r++)
		for (long i = at + r * e->n[1]; i < at + r * e->n[1] + cols; i += 16) {
			if (e->arg[3])
				__builtin_prefetch(F(3) + i, 0);
			if (e->arg[5])
				__builtin_prefetch(F(5) + i, 1);
		}
}

// matmul_block computes rows top to end of panels left to right of one product of the batch.
static void matmul_block(td_exec *e, float *tmp, long item, long top, long end, long left, long right) {
	long m = e->n[0], n = e->n[1], depth = e->n[2], packed = e->n[7], wide = (n + PANEL - 1) / PANEL * PANEL;
	int copied = !e->n[3] && depth % PAGE == 0 && right - left >= 4; // otherwise the copy costs more than it saves
	int more = e->arg[2] || e->arg[3] || e->arg[5] || e->n[4];
	float alpha = (float)e->s[0], *out = F(4) + item * m * n;
	const float *a = F(0) + item * m * depth, *b = F(1) + item * depth * (packed ? wide : n);
	for (long k = 0; k < depth; k += DEPTH) {
		long kn = depth - k < DEPTH ? depth - k : DEPTH;
		int last = k + kn == depth;
		for (long i0 = top; i0 < end; i0 += TD_HEIGHT) {
			long i1 = end - i0 < TD_HEIGHT ? end : i0 + TD_HEIGHT, parts = tiles(i1 - i0, (right - left) * PANEL);
			region next_a = {0}, next_b = {0}; // of the block after this one
			if (i1 < end || !last) {
				long i = i1 < end ? i1 : top, x = i1 < end ? k : k + kn, xn = depth - x < DEPTH ? depth - x : DEPTH;
				long h = end - i < TD_HEIGHT ? end - i : TD_HEIGHT;
				next_a = e->n[3] ? (region){a + x * m + i, m, xn, h} : (region){a + i * depth + x, depth, h, xn};
				if (i1 == end && !packed)
					next_b = (region){b + x * n + left * PANEL, n, xn, right * PANEL < n ? (right - left) * PANEL : n - left * PANEL};
			}
			long a_rows = next_a.rows / parts + 1, b_rows = next_b.rows / parts + 1; // at a time
			if (e->n[3])
				columns_of(a + k * m + i0, m, i1 - i0, kn, tmp);
			if (e->arg[6] && !left) {
				if (!k)
					memset(F(6) + i0, 0, (i1 - i0) * sizeof(float));
				add_rows(a + k * m + i0, m, i1 - i0, kn, F(6) + i0);
			}
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
					fetch(&next_a, a_rows);
					fetch(&next_b, b_rows);
					if (last && more)
						fetch_rest(e, c - F(4), mr, nn);
					if (nn % VL)
						edge(mr, nn, kn, ai, ars, aks, bj, c, n, alpha, k > 0);
					else
						tile(mr, nn, kn, ai, ars, aks, bj, packed ? PANEL : n, c, n, alpha, k > 0);
				}
			}
			long j = left * PANEL, w = (right * PANEL < n ? right * PANEL : n) - j;
			float *c = out + i0 * n + j;
			for (long i = i0; last && more && i < i1; i++, c += n)
				finish_row(w, c, 1, e->arg[2] ? F(2) + j : 0, (int)e->n[4], e->arg[5] ? F(5) + (c - F(4)) : 0,
					(int)e->n[5], e->arg[3] ? F(3) + (c - F(4)) : 0, c);
		}
	}
}

// The rows of a product are split over the threads, and so are its panels, into as many strips as give pieces that read
// least: a piece of r rows and c columns reads B once for r rows, and copies A once for c columns, which costs twice as much.
static long rows_of(td_exec *e) { return (e->n[0] + MR - 1) / MR * MR; }
static long strips(td_exec *e) {
	long panels = (e->n[1] + PANEL - 1) / PANEL, rows = rows_of(e), pieces = (long)e->be->threads * PIECES, best = 1;
	double least = 0;
	for (long s = 1; e->be->threads > 1 && s <= panels && s <= pieces; s++) {
		double r = (double)e->n[6] * rows * s / pieces;
		r = r < MR ? MR : r > rows ? rows : r > TD_HEIGHT ? TD_HEIGHT : r;
		double cost = 1 / r + 2. / ((panels + s - 1) / s * PANEL);
		if (s == 1 || cost < least) {
			least = cost;
			best = s;
		}
	}
	return best;
}

static void matmul_range(td_exec *e, int part, long lo, long hi) {
	long rows = rows_of(e), count = e->n[8], panels = (e->n[1] + PANEL - 1) / PANEL;
	float *tmp = (float *)e->be->scratch + part * (long)TD_HEIGHT * TD_STEP;
	while (lo < hi) {
		long strip = lo / rows, top = lo % rows, end = top + hi - lo < rows ? top + hi - lo : rows, s = strip % count;
		lo += end - top;
		matmul_block(e, tmp, strip / count, top, end < e->n[0] ? end : e->n[0], panels * s / count, panels * (s + 1) / count);
	}
}
static void matmul(td_exec *e) {
	long count = e->n[8] ? e->n[8] : (e->n[8] = strips(e)); // once for an Exec
	split(e, e->n[6] * count * rows_of(e), e->n[1] * e->n[2] / (8 * count) + 1, MR, matmul_range);
}
