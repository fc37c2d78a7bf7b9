// ptx: 80
// The backward pass of attention on arrays of bfloat16, in the arithmetic of float: heads of more than 64 channels.
#include "attention_back.cuh"

BACKWARD(half_attention_back_128, true, 32, 128, false, NEWER(2))
BACKWARD(half_attention_back_256, true, 16, 256, false, NEWER(3))
STATS(half_attention_stats_128, true, 32, 128, NEWER(3))
STATS(half_attention_stats_256, true, 16, 256, NEWER(3))
REGISTER_KERNEL(half_attention_back_128)
REGISTER_KERNEL(half_attention_back_256)
REGISTER_KERNEL(half_attention_stats_128)
REGISTER_KERNEL(half_attention_stats_256)
