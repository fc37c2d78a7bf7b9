// ptx: 80
// The backward pass of attention on arrays of float.
#include "attention_back.cuh"

BACKWARD(attention_back_64_short, false, 64, 64, true, NEWER(3))
BACKWARD(attention_back_64_text, false, 80, 64, true, NEWER(2))
BACKWARD(attention_back_64, false, 64, 64, false, NEWER(2))
BACKWARD(attention_back_128, false, 32, 128, false, NEWER(2))
BACKWARD(attention_back_256, false, 16, 256, false, NEWER(3))
STATS(attention_stats_64, false, 64, 64, NEWER(2))
STATS(attention_stats_128, false, 32, 128, NEWER(3))
STATS(attention_stats_256, false, 16, 256, NEWER(3))
REGISTER_KERNEL(attention_back_64_short)
REGISTER_KERNEL(attention_back_64_text)
REGISTER_KERNEL(attention_back_64)
REGISTER_KERNEL(attention_back_128)
REGISTER_KERNEL(attention_back_256)
REGISTER_KERNEL(attention_stats_64)
REGISTER_KERNEL(attention_stats_128)
REGISTER_KERNEL(attention_stats_256)
