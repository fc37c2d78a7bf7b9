package trampoline

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program does what gorgonia.org/cu does before main, then what the driver package does.
const program = `
#include <stdio.h>
int cuInit(unsigned), cuDeviceGetCount(int *), cuStreamQuery(void *);
long long cuMemcpyAtoA_v2(long long, long long, long long, long long, long long, long long, double, double, long long, long long);
const char *tandem_cuda_open(int *);
int main(void) {
    int n = -1, status = -1, began = cuInit(0), early = cuDeviceGetCount(&n);
    const char *why = tandem_cuda_open(&status);
    printf("began %d early %d status %d why <%s>", began, early, status, why ? why : "");
    if (why) return 0;
    int counted = cuDeviceGetCount(&n);
    printf(" count %d n %d query %d sum %lld", counted, n, cuStreamQuery(0), cuMemcpyAtoA_v2(1, 2, 3, 4, 5, 6, 7.5, 8.5, 9, 10));
    return 0;
}`

// fake holds the source of a driver with few entries, one of them with more parameters than registers take.
const fake = `
int cuInit(unsigned f) { return INIT; }
int cuDeviceGetCount(int *n) { *n = 3; return 0; }
long long cuMemcpyAtoA_v2(long long a, long long b, long long c, long long d, long long e, long long f, double g, double h,
                          long long i, long long j) {
    return a + 10 * b + 100 * c + 1000 * d + 10000 * e + 100000 * f + (long long)(2 * g) + (long long)(2 * h) + 1000000 * i + 10000000 * j;
}`

func TestABinaryRunsWithAndWithoutADriver(t *testing.T) {
	cc := "cc"
	if given := os.Getenv("CC"); given != "" {
		cc = given
	}
	if _, err := exec.LookPath(cc); err != nil {
		t.Skip("no C compiler")
	}
	dir := t.TempDir()
	compile := func(args ...string) {
		t.Helper()
		if said, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, said)
		}
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	compile("-o", filepath.Join(dir, "program"), write("program.c", program), "src/loader.c", "src/slots.S", "-ldl", "-lpthread")
	driver := func(name, init string) string {
		folder := filepath.Join(dir, name)
		if err := os.Mkdir(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		compile("-shared", "-fPIC", "-DINIT="+init, "-o", filepath.Join(folder, "libcuda.so.1"), write(name+".c", fake))
		return folder
	}
	broken := filepath.Join(dir, "broken")
	if err := os.Mkdir(broken, 0o777); err != nil {
		t.Fatal(err)
	}
	write("broken/libcuda.so.1", "not a library")
	for name, c := range map[string]struct{ folder, want string }{
		"a driver":              {driver("good", "0"), "status 0 why <> count 0 n 3 query 801 sum 109654353"},
		"no GPU":                {driver("none", "100"), "status 100 why <cuInit fails>"},
		"a library that is not": {broken, "status 0 why <" + broken + "/libcuda.so.1: "},
	} {
		t.Run(name, func(t *testing.T) {
			run := exec.Command(filepath.Join(dir, "program"))
			run.Env = append(os.Environ(), "LD_LIBRARY_PATH="+c.folder)
			said, err := run.CombinedOutput()
			if err != nil || !strings.HasPrefix(string(said), "began 0 early 100 "+c.want) {
				t.Errorf("got %q, %v, want %q", said, err, c.want)
			}
		})
	}
}
