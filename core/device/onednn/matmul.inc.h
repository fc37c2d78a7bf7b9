// Matrix products whose right-hand side fits the second cache; part of kernels.inc.h. oneDNN spends up
// to a third of the time of such a product around it.

// matmul is a product as device.MatMul documents, of one batch: n is M, N, K, TransA, activation, what to
// do with the residual. Args: a, b [K, N], bias or 0, residual or 0, c, slope or 0. N is a multiple of VL. Each part has rows of C of its
// own. A block of B stays in the first cache while all rows pass.
enum { DEPTH = 512 }; // rows of B in a block

static void matmul_range(td_exec *e, int part, long lo, long hi) {
	(void)part;
	long m = e->n[0], n = e->n[1], depth = e->n[2], ars = e->n[3] ? 1 : depth, aks = e->n[3] ? m : 1;
	int more = e->arg[2] || e->arg[3] || e->arg[5] || e->n[4];
	float alpha = (float)e->s[0];
	for (long k = 0; k < depth || k == 0; k += DEPTH) {
		long kn = depth - k < DEPTH ? depth - k : DEPTH;
		int last = k + kn == depth;
		for (long j = 0; j < n; j += NV * VL) {
			long nn = n - j < NV * VL ? n - j : NV * VL;
			for (long i = lo; i < hi; i += MR) {
				int mr = hi - i < MR ? (int)(hi - i) : MR;
				float *c = F(4) + i * n + j;
				tile(mr, nn, kn, F(0) + i * ars + k * aks, ars, aks, F(1) + k * n + j, n, c, n, alpha, k > 0);
				for (int r = 0; last && more && r < mr; r++, c += n)
					finish_row(nn, c, 1, e->arg[2] ? F(2) + j : 0, (int)e->n[4], e->arg[5] ? F(5) + (c - F(4)) : 0,
						(int)e->n[5], e->arg[3] ? F(3) + (c - F(4)) : 0, c);
			}
		}
	}
}
static void matmul(td_exec *e) {
	split(e, e->n[0], e->n[1] * e->n[2] / 8, MR, matmul_range);
}
