// Findings: what the double reports of a program that uses the driver wrongly. Each is one line on stderr
// and an error code.
#pragma once
#include <cuda.h>

#include <string>

namespace cudadouble {

std::string format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

// finding reports and returns code.
CUresult finding(CUresult code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// findings returns how many there were.
unsigned long long findings();

// trace writes a line when tracing is on.
void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

// what names the error as cuGetErrorName does; null when there is no such error.
const char *errorName(CUresult);

} // namespace cudadouble
