// The driver's entry points that gorgonia.org/cu lacks, by dlsym. All return a CUresult; 801
// (not supported) where the driver has no such entry.
#ifndef TANDEM_SYMBOLS_H
#define TANDEM_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

// Opens the driver and finds its entries, once. Null, or why there is no driver: where cuInit failed, with
// its status; where the library could not be opened, with status 0 and dlopen's words.
const char *tandem_driver_open(int *init_status);

const char *tandem_error_name(int status); // never null
const char *tandem_error_text(int status); // "" when unknown

int tandem_enter(uintptr_t context); // makes it the thread's current context
int tandem_host_alloc(void **memory, size_t bytes);
int tandem_host_register(uintptr_t memory, size_t bytes);
int tandem_host_unregister(uintptr_t memory);
int tandem_function_attribute(uintptr_t function, int attribute, int value);
int tandem_begin_capture(uintptr_t stream);
int tandem_end_capture(uintptr_t stream, uintptr_t *graph);
int tandem_instantiate(uintptr_t graph, uintptr_t *exec); // destroys graph in any case
int tandem_graph_launch(uintptr_t exec, uintptr_t stream);
int tandem_graph_destroy(uintptr_t exec);

#endif
