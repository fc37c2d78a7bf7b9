// Package child runs one plugin's operating-system process: it starts a program in a clean environment, limits what the
// program may do where that is asked for, reads what it says, and ends it together with all its descendants. It also tells what the system knows
// of processes: their memory, whether they are stopped, and what the processors do beside them.
//
// A plugin's processes end with it, even those that left its process group. They are found by a variable of the
// environment that they inherit, and, because the runner becomes the parent of orphans, among its children.
package child

import (
	"os"
	"strconv"
	"strings"
)

// passEnv lists the variables of the runner's environment that plugins see; names ending in _ are prefixes. A
// plugin's result must not depend on whatever else is set.
var passEnv = []string{
	"PATH", "HOME", "USER", "TMPDIR", "LANG", "LC_ALL", "TZ", "XDG_CACHE_HOME", "XDG_DATA_HOME",
	"LD_LIBRARY_PATH", "CUDA_", "NVIDIA_", "DNNL_", "ONEDNN_", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX",
	"GODEBUG", "GOTRACEBACK", "GOMEMLIMIT", "GOGC", "GOCOVERDIR", "TANDEM_",
}

// storeEnv lists what a dataset needs beside that to read from stores: where they are, who asks, and the way there. Other plugins
// see none of it, and neither do those in the sandbox, which have no network.
var storeEnv = []string{
	"AWS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
}

// StoreEnvironment returns what a dataset that may read from stores has in its environment beside Environment.
func StoreEnvironment() []string { return passed(storeEnv) }

// passed returns the variables of this process that a list names.
func passed(names []string) (env []string) {
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		for _, pass := range names {
			if name == pass || strings.HasSuffix(pass, "_") && strings.HasPrefix(name, pass) {
				env = append(env, kv)
				break
			}
		}
	}
	return env
}

// spins is how often an OpenMP thread looks for its next work before it sleeps: for 0.1 to 0.2 ms, which is longer than the
// pauses between the kernels of a pass. To wake a thread that sleeps takes 30 to 70 µs on a virtual machine, twice a
// kernel. A thread that went on looking would take the core from the other processes.
const spins = "4000"

// Environment returns the environment of a plugin that may compute with threads at a time (0: not said).
func Environment(threads int) []string {
	env := passed(passEnv)
	env = append(env, "OMP_WAIT_POLICY=passive", "GOMP_SPINCOUNT="+spins, "OMP_PROC_BIND=false", "OMP_DYNAMIC=false",
		"PYTHONUNBUFFERED=1") // what it prints arrives, also when it is killed
	if threads > 0 {
		env = append(env, "OMP_NUM_THREADS="+strconv.Itoa(threads))
	}
	return env
}
