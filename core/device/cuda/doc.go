// Package cuda is the backend on NVIDIA GPUs, on gorgonia.org/cu: all kernels of core/device in float32,
// products and convolutions in TF32 or bfloat16 where they ask for it, through cuBLAS, cuDNN when it is
// there, and kernels of our own (core/device/cuda/kernels).
//
// It is built with the tag clipcuda. The binary needs no CUDA to start: driver and libraries are opened
// when a device is (core/device/cuda/driver). Nothing here knows graphs, layers or CLIP.
package cuda
