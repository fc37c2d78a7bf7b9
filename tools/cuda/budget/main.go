// Command budget reads what ptxas said about every kernel (the logs of tools/cuda/matrix.sh), checks that no kernel
// needs more than it may, and writes docs/cuda-kernels.md.
//
//	budget [-o TABLE] LOGS
package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"

	"tandem/core/engine/device/cuda/kernels"
)

func main() {
	out := flag.String("o", "", "write the table to this file")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: budget [-o TABLE] LOGS")
		os.Exit(2)
	}
	wrong, err := run(flag.Arg(0), *out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "budget:", err)
		os.Exit(2)
	}
	if wrong > 0 {
		os.Exit(1)
	}
}

// run returns how many budgets were exceeded; the table is only written when none was.
func run(logs, out string) (int, error) {
	uses, err := readLogs(logs)
	if err != nil {
		return 0, err
	}
	if len(uses) == 0 {
		return 0, fmt.Errorf("%s: no logs", logs)
	}
	wrong := 0
	for _, u := range uses {
		for _, line := range check(u, kernels.Entries(u.sm)[u.kernel]) {
			fmt.Println(line)
			wrong++
		}
	}
	fmt.Printf("%d kernels by toolkit and architecture, %d over budget\n", len(uses), wrong)
	if out == "" || wrong > 0 {
		return wrong, nil
	}
	var table bytes.Buffer
	writeTable(&table, uses, kernels.Entries(architectures[len(architectures)-1]))
	return 0, os.WriteFile(out, table.Bytes(), 0o644)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
