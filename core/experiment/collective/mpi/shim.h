#include <stdint.h>

enum { TANDEM_STOPPED = -1 };

const char *tandem_load(const char *file);
int32_t tandem_start(int32_t *rank, int32_t *size);
int32_t tandem_exchange(const void *send, const int64_t *sent, void *receive, const int64_t *received, int32_t patient);
int32_t tandem_allreduce(float *values, int64_t n);
int32_t tandem_finish(void);
int32_t tandem_error(int32_t code, char *text);
int32_t tandem_version(char *text);
void tandem_stop(void);
double tandem_add(float *out, int64_t n, int32_t rank, int32_t size, float *others);
double tandem_add_in_place(const uintptr_t *at, int64_t n, int32_t size);
