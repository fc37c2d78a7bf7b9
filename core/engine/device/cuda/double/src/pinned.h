// Host memory that the driver knows: allocated by it or registered with it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace cudadouble {

struct Context;

// isPinned says whether [p, p+bytes) is host memory that the driver knows, alive now.
bool isPinned(const void *p, size_t bytes);
// isMapped says whether the pages of [p, p+bytes) are there.
bool isMapped(const void *p, size_t bytes);
void endPinned(Context *);

} // namespace cudadouble
