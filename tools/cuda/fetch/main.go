// Command fetch gets parts of NVIDIA's toolkit without pip, apt or Python: wheels of PyPI and packages of
// Debian, pinned by sum, into ${TANDEM_CACHE:-user cache dir/tandem}/cuda. It prints the folder that each
// lies unpacked in, one a line:
//
//	go run ./tools/cuda/fetch runtime11    # .../cuda/runtime11-92d04069a987, with nvidia/cuda_runtime/include/cuda.h
//
// What is there already is not fetched again. It exits with 1 on a failure, 2 when it does not know a name,
// 3 when the network or the archive is not there. Proxies and certificates are those of the environment
// (HTTPS_PROXY, SSL_CERT_FILE and so on).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"tandem/core/fault"
)

func main() {
	ctx, end := signal.NotifyContext(context.Background(), os.Interrupt)
	defer end()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fetch: "+fault.Format(err))
		os.Exit(exitCode(err))
	}
}

func run(ctx context.Context, names []string) error {
	var wanted []pack
	for _, name := range names {
		p, ok := find(name)
		if !ok {
			return fault.New(fault.Invalid, "there is no package %q", name).WithHint("one of %s", known())
		}
		wanted = append(wanted, p)
	}
	if len(wanted) == 0 {
		return fault.New(fault.Invalid, "which package?").WithHint("one or more of %s", known())
	}
	cache, err := cacheFolder()
	if err != nil {
		return err
	}
	for _, p := range wanted {
		folder, err := newFetcher(cache).fetch(ctx, p)
		if err != nil {
			return err
		}
		fmt.Println(folder)
	}
	return nil
}

func known() string {
	text := ""
	for i, p := range packages {
		if i > 0 {
			text += ", "
		}
		text += p.name
	}
	return text
}

// cacheFolder returns the folder of all packages.
func cacheFolder() (string, error) {
	if dir := os.Getenv("TANDEM_CACHE"); dir != "" {
		return filepath.Abs(filepath.Join(dir, "cuda"))
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fault.New(fault.Invalid, "no folder to keep files in: %w", err).WithHint("set TANDEM_CACHE")
	}
	return filepath.Join(dir, "tandem", "cuda"), nil
}

func exitCode(err error) int {
	var e *fault.Error
	if errors.As(err, &e) {
		switch e.Kind {
		case fault.Invalid:
			return 2
		case fault.Unavailable:
			return 3
		}
	}
	return 1
}
