//go:build clipcuda

#define _GNU_SOURCE
#include "symbols.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

enum { NOT_SUPPORTED = 801 };

static struct {
    int (*error_name)(int, const char **);
    int (*error_text)(int, const char **);
    int (*get_current)(void **);
    int (*set_current)(void *);
    int (*host_alloc)(void **, size_t, unsigned);
    int (*host_register)(void *, size_t, unsigned);
    int (*host_unregister)(void *);
    int (*function_attribute)(void *, int, int);
    int (*begin_capture)(void *, int);
    int (*end_capture)(void *, void **);
    int (*instantiate)(void **, void *, unsigned long long);
    int (*instantiate_v2)(void **, void *, void **, char *, size_t);
    int (*graph_launch)(void *, void *);
    int (*exec_destroy)(void *);
    int (*graph_destroy)(void *);
} cuda;

static const struct { const char *name; void *at; } entries[] = {
    {"cuGetErrorName", &cuda.error_name},
    {"cuGetErrorString", &cuda.error_text},
    {"cuCtxGetCurrent", &cuda.get_current},
    {"cuCtxSetCurrent", &cuda.set_current},
    {"cuMemHostAlloc", &cuda.host_alloc},
    {"cuMemHostRegister_v2", &cuda.host_register},
    {"cuMemHostUnregister", &cuda.host_unregister},
    {"cuFuncSetAttribute", &cuda.function_attribute},
    {"cuStreamBeginCapture_v2", &cuda.begin_capture},
    {"cuStreamEndCapture", &cuda.end_capture},
    {"cuGraphInstantiateWithFlags", &cuda.instantiate}, // since 11.4
    {"cuGraphInstantiate_v2", &cuda.instantiate_v2},    // since 11.0
    {"cuGraphLaunch", &cuda.graph_launch},
    {"cuGraphExecDestroy", &cuda.exec_destroy},
    {"cuGraphDestroy", &cuda.graph_destroy},
};

// core/engine/device/cuda/trampoline has it; a binary that is linked with NVIDIA's libcuda has not.
extern const char *tandem_cuda_open(int *init_status) __attribute__((weak));

static const char *why;
static int init_failed;

static void load(void) {
    if (tandem_cuda_open) why = tandem_cuda_open(&init_failed);
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!lib) {
        if (!why) why = dlerror();
        return;
    }
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        *(void **)entries[i].at = dlsym(lib, entries[i].name);
}

const char *tandem_driver_open(int *init_status) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    *init_status = init_failed;
    return why;
}

#define CALL(f, ...) ((f) ? (f)(__VA_ARGS__) : NOT_SUPPORTED)

const char *tandem_error_name(int status) {
    const char *s = NULL;
    static __thread char number[32];
    if (cuda.error_name && cuda.error_name(status, &s) == 0 && s) return s;
    snprintf(number, sizeof number, "CUDA error %d", status);
    return number;
}

const char *tandem_error_text(int status) {
    const char *s = NULL;
    if (cuda.error_text && cuda.error_text(status, &s) == 0 && s) return s;
    return "";
}

int tandem_enter(uintptr_t context) {
    void *current = NULL;
    if (cuda.get_current && cuda.get_current(&current) == 0 && current == (void *)context) return 0;
    return CALL(cuda.set_current, (void *)context);
}

// Portable (flag 1): pinned for every context of the process.
int tandem_host_alloc(void **memory, size_t bytes) { return CALL(cuda.host_alloc, memory, bytes, 1); }
int tandem_host_register(uintptr_t memory, size_t bytes) { return CALL(cuda.host_register, (void *)memory, bytes, 1); }
int tandem_host_unregister(uintptr_t memory) { return CALL(cuda.host_unregister, (void *)memory); }

int tandem_function_attribute(uintptr_t function, int attribute, int value) {
    return CALL(cuda.function_attribute, (void *)function, attribute, value);
}

// Mode 1 (thread local): a call of this thread that would break the capture fails; other threads are free.
int tandem_begin_capture(uintptr_t stream) { return CALL(cuda.begin_capture, (void *)stream, 1); }

int tandem_end_capture(uintptr_t stream, uintptr_t *graph) {
    return CALL(cuda.end_capture, (void *)stream, (void **)graph);
}

int tandem_instantiate(uintptr_t graph, uintptr_t *exec) {
    int status = cuda.instantiate      ? cuda.instantiate((void **)exec, (void *)graph, 0)
                 : cuda.instantiate_v2 ? cuda.instantiate_v2((void **)exec, (void *)graph, NULL, NULL, 0)
                                       : NOT_SUPPORTED;
    int destroyed = CALL(cuda.graph_destroy, (void *)graph);
    return status ? status : destroyed;
}

int tandem_graph_launch(uintptr_t exec, uintptr_t stream) { return CALL(cuda.graph_launch, (void *)exec, (void *)stream); }
int tandem_graph_destroy(uintptr_t exec) { return CALL(cuda.exec_destroy, (void *)exec); }
