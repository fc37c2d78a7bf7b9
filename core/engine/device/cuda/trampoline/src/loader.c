// A binary is linked with this in place of NVIDIA's libcuda. So it starts on every machine, and opens the
// driver when it is asked to. (With -lcuda the system's loader refuses to start it where there is none, and
// gorgonia.org/cu ends the process where cuInit fails.)
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>

#define SYMBOL(name) #name,
static const char *const names[] = {
#include "symbols.inc"
};
enum { COUNT = sizeof names / sizeof *names };

// In the order of names, each tandem_no_driver until the driver is open.
extern void *tandem_slots[COUNT];

enum { NO_DEVICE = 100, NOT_SUPPORTED = 801 }; // of CUresult
__attribute__((visibility("hidden"))) int tandem_no_driver(void) { return NO_DEVICE; }
static int no_entry(void) { return NOT_SUPPORTED; } // the driver is older than cu

// gorgonia.org/cu calls it before main and ends the process when it fails, so it does nothing and says yes.
// The driver's own is called by tandem_cuda_open, which costs from milliseconds to seconds: programs that
// use no GPU do not pay for it.
__attribute__((visibility("hidden"))) int cuInit(unsigned flags) {
    (void)flags;
    return 0;
}

static char why[512];
static int status;

static void load(void) {
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!lib) {
        const char *error = dlerror();
        snprintf(why, sizeof why, "%s", error ? error : "libcuda.so.1 cannot be opened");
        return;
    }
    int (*init)(unsigned) = (int (*)(unsigned))dlsym(lib, "cuInit");
    status = init ? init(0) : NOT_SUPPORTED;
    if (status) {
        snprintf(why, sizeof why, "cuInit fails");
        return; // the entries go on to say that there is no device
    }
    for (int i = 0; i < COUNT; i++) {
        void *entry = dlsym(lib, names[i]);
        tandem_slots[i] = entry ? entry : (void *)no_entry;
    }
}

// Opens the driver, once, and before any other call of it. It returns null, or what is wrong: where cuInit failed,
// with its status; where the library could not be opened, with status 0 and the words of dlopen.
const char *tandem_cuda_open(int *init_status) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    *init_status = status;
    return why[0] ? why : NULL;
}
