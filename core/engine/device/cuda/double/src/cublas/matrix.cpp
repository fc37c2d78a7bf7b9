#include "matrix.h"

#include <cmath>
#include <cstring>

#include "../known.h"
#include "gemm.h"

namespace cudadouble {

Status status(CUresult e) {
  switch (e) {
  case CUDA_SUCCESS: return Success;
  case CUDA_ERROR_INVALID_VALUE:
  case CUDA_ERROR_INVALID_HANDLE: return InvalidValue;
  case CUDA_ERROR_NOT_SUPPORTED: return NotSupported;
  default: return ExecutionFailed;
  }
}

int bad(Status s, const char *call, const std::string &why) {
  return double_finding(s, (std::string(call) + ": " + why).c_str());
}

float number(const void *at, int type, int64_t i) {
  if (type == R32F) return ((const float *)at)[i];
  const uint32_t u = uint32_t(((const uint16_t *)at)[i]) << 16;
  float x;
  memcpy(&x, &u, 4);
  return x;
}

void setNumber(void *at, int type, int64_t i, float x) {
  if (type == R32F) {
    ((float *)at)[i] = x;
    return;
  }
  uint32_t u;
  memcpy(&u, &x, 4);
  ((uint16_t *)at)[i] = uint16_t(std::isnan(x) ? u >> 16 | 0x40 : (u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

// rounded returns x with the mantissa of TF32, to nearest, ties away, as cvt.rna.tf32.f32 rounds it.
static float rounded(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  if ((u & 0x7F800000) != 0x7F800000) u = (u + 0x1000) & ~0x1FFFu;
  memcpy(&x, &u, 4);
  return x;
}

const float *floats(const Matrix &m, int64_t i, bool tf32, std::vector<float> &room, int64_t &ld) {
  ld = m.ld;
  if (m.type == R32F && !tf32) return (const float *)m.at + i * m.stride;
  room.resize(size_t(m.rows * m.cols));
  ld = m.rows ? m.rows : 1;
  for (int64_t c = 0; c < m.cols; c++)
    for (int64_t r = 0; r < m.rows; r++) {
      const float x = number(m.at, m.type, i * m.stride + c * m.ld + r);
      room[size_t(c * m.rows + r)] = m.type == R32F ? rounded(x) : x;
    }
  return room.data();
}

void multiply(const Sum &s, const std::function<void(int64_t, float *)> &after) {
  std::vector<float> roomA, roomB, room, part;
  const bool inPlace = s.D.type == R32F && s.split == 1 && !after && (s.beta == 0 || (s.C.at == s.D.at && s.C.ld == s.D.ld));
  for (int64_t i = 0; i < s.count; i++) {
    int64_t la, lb;
    const float *a = floats(s.A, i, s.tf32, roomA, la), *b = floats(s.B, i, s.tf32, roomB, lb);
    if (inPlace) {
      gemm(s.A.trans, s.B.trans, s.m, s.n, s.k, s.alpha, a, la, b, lb, s.beta, (float *)s.D.at + i * s.D.stride, s.D.ld);
      continue;
    }
    room.assign(size_t(s.m * s.n), 0);
    for (int64_t from = 0, parts = s.split; parts > 0; parts--) {
      const int64_t depth = (s.k - from) / parts;
      part.resize(room.size());
      gemm(s.A.trans, s.B.trans, s.m, s.n, depth, s.alpha, a + from * (s.A.trans ? 1 : la), la, b + from * (s.B.trans ? lb : 1), lb, 0, part.data(), s.m);
      for (size_t j = 0; j < room.size(); j++) room[j] += part[j];
      from += depth;
    }
    if (s.beta != 0)
      for (int64_t c = 0; c < s.n; c++)
        for (int64_t r = 0; r < s.m; r++) room[size_t(c * s.m + r)] += s.beta * number(s.C.at, s.C.type, i * s.C.stride + c * s.C.ld + r);
    if (after) after(i, room.data());
    for (int64_t c = 0; c < s.n; c++)
      for (int64_t r = 0; r < s.m; r++) setNumber((void *)s.D.at, s.D.type, i * s.D.stride + c * s.D.ld + r, room[size_t(c * s.m + r)]);
  }
}

bool cold(CUstream stream, const std::string &shape) {
  static auto *seen = new Known<std::string>;
  CUstreamCaptureStatus capturing = CU_STREAM_CAPTURE_STATUS_NONE;
  if (cuStreamIsCapturing(stream, &capturing)) return false; // there is no such stream, as the caller will find
  if (capturing != CU_STREAM_CAPTURE_STATUS_NONE) return !seen->has(shape);
  seen->insert(shape);
  return false;
}

} // namespace cudadouble
