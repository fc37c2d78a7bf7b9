package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// use holds what one kernel needs on one architecture, as ptxas says.
type use struct {
	toolkit   string // 11, 12, 13, or ptx11, ptx12, ptx13 of the committed PTX, as in tools/cuda/matrix.sh
	sm        int
	source    string // the .cu file, without its ending
	kernel    string
	registers int // a thread
	shared    int // bytes a block, static
	local     int // bytes a thread in local memory: arrays that are not in registers, and spills
	spills    int // bytes a thread of registers stored to local memory and loaded from it
}

// readLogs reads all TOOLKIT.SM.SOURCE.log of a folder, each the output of ptxas -v.
func readLogs(folder string) ([]use, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.log"))
	if err != nil {
		return nil, err
	}
	var uses []use
	for _, path := range paths {
		name := strings.Split(strings.TrimSuffix(filepath.Base(path), ".log"), ".")
		if len(name) != 3 {
			return nil, fmt.Errorf("%s: want TOOLKIT.SM.SOURCE.log", path)
		}
		sm, err := strconv.Atoi(name[1])
		if err != nil {
			return nil, fmt.Errorf("%s: want TOOLKIT.SM.SOURCE.log", path)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		found := parse(string(text))
		if len(found) == 0 {
			return nil, fmt.Errorf("%s: no kernel in it", path)
		}
		for _, u := range found {
			u.toolkit, u.sm, u.source = name[0], sm, name[2]
			uses = append(uses, u)
		}
	}
	return uses, nil
}

var (
	entryLine  = regexp.MustCompile(`Compiling entry function '([^']+)'`)
	stackLine  = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	registers  = regexp.MustCompile(`Used (\d+) registers`)
	sharedUsed = regexp.MustCompile(`(\d+) bytes smem`)
)

// parse reads the output of ptxas -v: the lines of a kernel follow the one with its name.
func parse(log string) []use {
	var uses []use
	for line := range strings.Lines(log) {
		if m := entryLine.FindStringSubmatch(line); m != nil {
			uses = append(uses, use{kernel: m[1]})
			continue
		}
		if len(uses) == 0 {
			continue
		}
		u := &uses[len(uses)-1]
		if m := stackLine.FindStringSubmatch(line); m != nil {
			u.local = number(m[1])
			u.spills = number(m[2]) + number(m[3])
		}
		if m := registers.FindStringSubmatch(line); m != nil {
			u.registers = number(m[1])
			if m := sharedUsed.FindStringSubmatch(line); m != nil {
				u.shared = number(m[1])
			}
		}
	}
	return uses
}

func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}
