/* What tandem's runner needs of MPI, behind an interface that is the same for every MPI library. `make mpi` compiles this with
 * mpicc into libtandem-mpi.so, which the runner opens when it is started as one of several ranks.
 *
 * All functions are called by one thread. They return 0, STOPPED, or an error code of MPI. */
#define _GNU_SOURCE
#include <mpi.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { ABI = 1, STOPPED = -1, TAG = 1 };

static MPI_Comm ranks = MPI_COMM_NULL;
static MPI_Request *requests;
static int me, size;

int32_t tandem_mpi_abi(void) { return ABI; }

int32_t tandem_mpi_open(int32_t *rank, int32_t *count)
{
	int provided, code;
	if ((code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided)) != MPI_SUCCESS) return code;
	if ((code = MPI_Comm_dup(MPI_COMM_WORLD, &ranks)) != MPI_SUCCESS) return code;
	MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
	MPI_Comm_set_errhandler(ranks, MPI_ERRORS_RETURN);
	MPI_Comm_rank(ranks, &me);
	MPI_Comm_size(ranks, &size);
	*rank = me;
	*count = size;
	requests = malloc(2 * (size_t)size * sizeof *requests);
#ifdef __linux__
	prctl(PR_SET_TIMERSLACK, 1000UL); /* of this thread: short sleeps are to be short */
#endif
	return requests ? 0 : MPI_ERR_NO_MEM;
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* Waits without taking a core from those who compute: MPI_Waitall would spin. */
static int await(int n, int patient, const volatile int32_t *stop)
{
	double start = seconds();
	for (;;) {
		int done, code = MPI_Testall(n, requests, &done, MPI_STATUSES_IGNORE);
		if (code != MPI_SUCCESS || done) return code;
		if (*stop) return STOPPED;
		double waited = seconds() - start;
		if (waited < 30e-6) continue;
		struct timespec pause = {0, patient && waited > 2e-3 ? 150000 : 20000};
		nanosleep(&pause, NULL);
	}
}

/* Gives every other rank a part of send and gets a part of receive from each. parts has an offset and a length in bytes for each
 * rank, below 2^31; what is of no length is not sent. patient: others may come much later. When *stop becomes other than 0 it
 * returns STOPPED, and MPI cannot be used any more. */
int32_t tandem_mpi_exchange(const char *send, const int64_t *sent, char *receive, const int64_t *received, int32_t patient,
	const volatile int32_t *stop)
{
	int n = 0, code;
	for (int d = 1; d < size; d++) {
		int from = (me + size - d) % size;
		if (received[2 * from + 1] == 0) continue;
		code = MPI_Irecv(receive + received[2 * from], (int)received[2 * from + 1], MPI_BYTE, from, TAG, ranks, &requests[n++]);
		if (code != MPI_SUCCESS) return code;
	}
	for (int d = 1; d < size; d++) {
		int to = (me + d) % size;
		if (sent[2 * to + 1] == 0) continue;
		code = MPI_Isend(send + sent[2 * to], (int)sent[2 * to + 1], MPI_BYTE, to, TAG, ranks, &requests[n++]);
		if (code != MPI_SUCCESS) return code;
	}
	return await(n, patient, stop);
}

/* For comparisons only: MPI's own sum, in an order of its choice. */
int32_t tandem_mpi_allreduce(float *values, int64_t n)
{
	return MPI_Allreduce(MPI_IN_PLACE, values, (int)n, MPI_FLOAT, MPI_SUM, ranks);
}

int32_t tandem_mpi_close(void) { return MPI_Finalize(); }

/* Writes what an error code means, of at most MPI_MAX_ERROR_STRING bytes, and returns its length. */
int32_t tandem_mpi_error(int32_t code, char *text)
{
	int n = 0;
	if (MPI_Error_string(code, text, &n) != MPI_SUCCESS) n = 0;
	return n;
}

/* Writes the name and version of the MPI library, of at most MPI_MAX_LIBRARY_VERSION_STRING bytes, and returns its length. */
int32_t tandem_mpi_version(char *text)
{
	int n = 0;
	if (MPI_Get_library_version(text, &n) != MPI_SUCCESS) n = 0;
	return n;
}
