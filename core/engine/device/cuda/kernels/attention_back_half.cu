// ptx: 80
// The backward pass of attention on arrays of bfloat16, in the arithmetic of float: heads of up to 64 channels.
#include "attention_back.cuh"

BACKWARD(half_attention_back_64_short, true, 64, 64, true, NEWER(3))
BACKWARD(half_attention_back_64_text, true, 80, 64, true, NEWER(2))
BACKWARD(half_attention_back_64, true, 64, 64, false, NEWER(2))
STATS(half_attention_stats_64, true, 64, 64, NEWER(2))
REGISTER_KERNEL(half_attention_back_64_short)
REGISTER_KERNEL(half_attention_back_64_text)
REGISTER_KERNEL(half_attention_back_64)
REGISTER_KERNEL(half_attention_stats_64)
