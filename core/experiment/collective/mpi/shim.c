// Opens the shim (shim/tandem-mpi.c) and calls it; adds up what ranks have.
#include "shim.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { ABI = 1 };

static int32_t (*start)(int32_t *, int32_t *);
static int32_t (*exchange)(const char *, const int64_t *, char *, const int64_t *, int32_t, const volatile int32_t *);
static int32_t (*allreduce)(float *, int64_t);
static int32_t (*finish)(void);
static int32_t (*error_text)(int32_t, char *);
static int32_t (*version)(char *);
static volatile int32_t stopped;

// find looks a function up; what is missing it says in *failed.
static void *find(void *library, const char *name, const char **failed)
{
	void *symbol = dlsym(library, name);
	if (!symbol) *failed = dlerror();
	return symbol;
}

// tandem_load returns what went wrong, or NULL. MPI's own plugins look for its symbols among the global ones.
const char *tandem_load(const char *file)
{
	static char text[128];
	const char *failed = NULL;
	void *library = dlopen(file, RTLD_NOW | RTLD_GLOBAL);
	if (!library) return dlerror();
	int32_t (*abi)(void) = (int32_t (*)(void))find(library, "tandem_mpi_abi", &failed);
	if (!failed && abi() != ABI) {
		snprintf(text, sizeof text, "libtandem-mpi.so has version %d of its interface, and this runner needs %d", (int)abi(), ABI);
		return text;
	}
	start = (int32_t (*)(int32_t *, int32_t *))find(library, "tandem_mpi_open", &failed);
	exchange = (int32_t (*)(const char *, const int64_t *, char *, const int64_t *, int32_t, const volatile int32_t *))find(library, "tandem_mpi_exchange", &failed);
	allreduce = (int32_t (*)(float *, int64_t))find(library, "tandem_mpi_allreduce", &failed);
	finish = (int32_t (*)(void))find(library, "tandem_mpi_close", &failed);
	error_text = (int32_t (*)(int32_t, char *))find(library, "tandem_mpi_error", &failed);
	version = (int32_t (*)(char *))find(library, "tandem_mpi_version", &failed);
	return failed;
}

int32_t tandem_start(int32_t *rank, int32_t *size) { return start(rank, size); }

int32_t tandem_exchange(const void *send, const int64_t *sent, void *receive, const int64_t *received, int32_t patient)
{
	return exchange(send, sent, receive, received, patient, &stopped);
}

int32_t tandem_allreduce(float *values, int64_t n) { return allreduce(values, n); }
int32_t tandem_finish(void) { return finish(); }
int32_t tandem_error(int32_t code, char *text) { return error_text(code, text); }
int32_t tandem_version(char *text) { return version(text); }
void tandem_stop(void) { stopped = 1; }

// A block stays in the cache while the ranks' values are added and squared.
enum { BLOCK = 2048, LANES = 8 };

// add writes the sums of n values of each of size ranks to each of the places `to`, which may be the values themselves.
static double add(float *const *from, int32_t size, float *const *to, int32_t places, int64_t n)
{
	double lanes[LANES] = {0}, squares = 0;
	for (int64_t at = 0; at < n; at += BLOCK) {
		int64_t count = n - at < BLOCK ? n - at : BLOCK;
		float sums[BLOCK];
		memcpy(sums, from[0] + at, count * sizeof *sums);
		for (int32_t r = 1; r < size; r++) {
			const float *values = from[r] + at;
			for (int64_t k = 0; k < count; k++) sums[k] += values[k];
		}
		for (int32_t r = 0; r < places; r++) memcpy(to[r] + at, sums, count * sizeof *sums);
		int64_t k = 0;
		for (; k + LANES <= count; k += LANES)
			for (int lane = 0; lane < LANES; lane++) lanes[lane] += (double)sums[k + lane] * (double)sums[k + lane];
		for (; k < count; k++) squares += (double)sums[k] * (double)sums[k];
	}
	for (int lane = 0; lane < LANES; lane++) squares += lanes[lane];
	return squares;
}

double tandem_add(float *out, int64_t n, int32_t rank, int32_t size, float *others)
{
	float *from[size];
	for (int32_t r = 0; r < size; r++) from[r] = r == rank ? out : others + r * n;
	return add(from, size, &out, 1, n);
}

double tandem_add_in_place(const uintptr_t *at, int64_t n, int32_t size)
{
	float *all[size];
	for (int32_t r = 0; r < size; r++) all[r] = (float *)at[r];
	return add(all, size, all, size, n);
}
