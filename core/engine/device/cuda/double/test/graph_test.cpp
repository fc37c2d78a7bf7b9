// Stream capture and graphs.
#include <cstring>
#include <thread>

#include "test.h"

// instantiate ends the capture and gives the executable graph.
static CUgraphExec instantiate(CUstream s) {
  CUgraph g;
  OK(cuStreamEndCapture(s, &g));
  CUgraphExec x;
  OK(cuGraphInstantiateWithFlags(&x, g, 0));
  OK(cuGraphDestroy(g)); // the executable one lives on
  return x;
}

TEST(graph_does_the_captured_work_at_every_launch) {
  Device d;
  const CUdeviceptr x = d.upload(std::vector<float>(100, 1));
  OK(cuStreamBeginCapture(d.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  OK(d.launch("twice", 1, 128, 0, d.stream, {x, x, 100}));
  const CUgraphExec g = instantiate(d.stream);
  OK(cuStreamSynchronize(d.stream));
  REQUIRE(d.download(x, 100)[0] == 1); // captured, not run
  for (int i = 0; i < 3; i++) OK(cuGraphLaunch(g, d.stream));
  OK(cuStreamSynchronize(d.stream));
  REQUIRE(d.download(x, 100)[0] == 8);
  OK(cuGraphExecDestroy(g));
  FAILS(CUDA_ERROR_INVALID_HANDLE, cuGraphLaunch(g, d.stream));
}

TEST(capture_of_two_streams) {
  Device d;
  CUstream side;
  CUevent fork, join;
  OK(cuStreamCreate(&side, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&fork, CU_EVENT_DISABLE_TIMING));
  OK(cuEventCreate(&join, CU_EVENT_DISABLE_TIMING));
  const CUdeviceptr x = d.upload(std::vector<float>(100, 1)), y = d.fresh(100);
  OK(cuStreamBeginCapture(d.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  OK(d.launch("twice", 1, 128, 0, d.stream, {x, x, 100}));
  OK(cuEventRecord(fork, d.stream));
  OK(cuStreamWaitEvent(side, fork, 0));
  OK(d.launch("twice", 1, 128, 0, side, {x, y, 100}));
  FAILS(CUDA_ERROR_CAPTURED_EVENT, cuEventSynchronize(fork));
  OK(cuEventRecord(join, side));
  OK(cuStreamWaitEvent(d.stream, join, 0));
  const CUgraphExec g = instantiate(d.stream);
  OK(cuGraphLaunch(g, d.stream));
  OK(cuStreamSynchronize(d.stream));
  REQUIRE(d.download(y, 100)[0] == 4);
  OK(cuMemsetD32Async(x, 0, 1, side)); // both streams are free again
  OK(cuStreamSynchronize(side));
}

TEST(capture_with_a_stream_left_behind) {
  Device d;
  CUstream side;
  CUevent fork;
  CUgraph g;
  OK(cuStreamCreate(&side, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&fork, CU_EVENT_DISABLE_TIMING));
  const CUdeviceptr x = d.upload(std::vector<float>(100, 1));
  OK(cuStreamBeginCapture(d.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  OK(cuEventRecord(fork, d.stream));
  OK(cuStreamWaitEvent(side, fork, 0));
  OK(d.launch("twice", 1, 128, 0, side, {x, x, 100}));
  FAILS(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, cuStreamEndCapture(d.stream, &g));
}

TEST(waiting_spoils_a_capture) {
  Device d;
  CUgraph g;
  OK(cuStreamBeginCapture(d.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  FAILS(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamSynchronize(d.stream));
  REQUIRE(cuStreamEndCapture(d.stream, &g) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

TEST(allocating_spoils_a_capture) {
  Device d;
  CUgraph g;
  CUdeviceptr p;
  OK(cuStreamBeginCapture(d.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  FAILS(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuMemAlloc(&p, 4));
  REQUIRE(cuStreamEndCapture(d.stream, &g) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

TEST(pageable_memory_in_a_capture) {
  Device d;
  float host[4];
  const CUdeviceptr x = d.fresh(4);
  OK(cuStreamBeginCapture(d.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  FAILS(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuMemcpyHtoDAsync(x, host, 16, d.stream));
}

TEST(default_stream_beside_a_capture) {
  Device d(CU_STREAM_DEFAULT);
  const CUdeviceptr x = d.upload(std::vector<float>(4));
  OK(cuStreamBeginCapture(d.stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  FAILS(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, cuMemsetD32(x, 0, 4));
}

TEST(capture_ended_on_another_thread) {
  Device d;
  OK(cuStreamBeginCapture(d.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  std::thread([&] {
    CUgraph g;
    OK(cuCtxSetCurrent(d.context));
    FAILS(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, cuStreamEndCapture(d.stream, &g));
  }).join();
}

TEST(graph_over_freed_memory) {
  Device d;
  const CUdeviceptr x = d.upload(std::vector<float>(100, 1));
  OK(cuStreamBeginCapture(d.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  OK(d.launch("twice", 1, 128, 0, d.stream, {x, x, 100}));
  const CUgraphExec g = instantiate(d.stream);
  OK(cuMemFree(x));
  OK(cuGraphLaunch(g, d.stream));
  FAILS(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(d.stream));
}
