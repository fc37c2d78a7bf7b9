// Limits of the machine that the double plays, by its compute capability.
#pragma once
#include <cstddef>

namespace cudadouble {

constexpr size_t sharedDefault = 48 << 10; // shared memory of a block without opting in

size_t sharedOptin();  // with it
size_t sharedOnMultiprocessor();
int threadsOnMultiprocessor();
int blocksOnMultiprocessor();
int multiprocessors();

} // namespace cudadouble
