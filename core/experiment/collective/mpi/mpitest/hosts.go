// Package mpitest gives tests of ranks what they need: the shim, and two machines that are one.
package mpitest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Hosts are two network namespaces as two machines, connected by a cable.
type Hosts struct {
	t     *testing.T
	Names [2]string
	agent string // what mpirun starts programs on the other one with
}

// New makes two machines for a test, which it skips where namespaces cannot be made.
func New(t *testing.T) *Hosts {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("two machines are not tested: network namespaces need root and ip (apt-get install iproute2)")
	}
	h := &Hosts{t: t, Names: [2]string{fmt.Sprintf("tandem%da", os.Getpid()), fmt.Sprintf("tandem%db", os.Getpid())}}
	t.Cleanup(h.Remove)
	for i, name := range h.Names {
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("two machines are not tested: ip netns add: %s", out)
		}
		h.ip("-n", name, "link", "set", "lo", "up")
		if i == 1 {
			h.ip("link", "add", "cable", "netns", h.Names[0], "type", "veth", "peer", "name", "cable", "netns", name)
		}
	}
	for i, name := range h.Names {
		h.ip("-n", name, "address", "add", fmt.Sprintf("10.213.77.%d/24", i+1), "dev", "cable")
		h.ip("-n", name, "link", "set", "cable", "up")
	}
	h.agent = filepath.Join(t.TempDir(), "agent")
	script := "#!/bin/sh\nwhile :; do case $1 in -*) shift;; *) break;; esac; done\nhost=$1; shift\n" +
		"exec ip netns exec \"$host\" unshare --uts sh -c 'hostname '\"$host\"'; exec sh -c \"$0\"' \"$*\"\n"
	if err := os.WriteFile(h.agent, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *Hosts) ip(args ...string) {
	h.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		h.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Remove ends what still runs on the machines, and takes them away.
func (h *Hosts) Remove() {
	for _, name := range h.Names {
		pids, _ := exec.Command("ip", "netns", "pids", name).Output()
		for _, pid := range strings.Fields(string(pids)) {
			_ = exec.Command("kill", "-KILL", pid).Run()
		}
		_ = exec.Command("ip", "netns", "delete", name).Run()
	}
}

// Cut pulls the second machine's end of the cable.
func (h *Hosts) Cut() {
	h.t.Helper()
	h.ip("-n", h.Names[1], "link", "set", "cable", "down")
}

// Spread returns an mpirun of two ranks that puts one on each machine. They have nothing in common but TCP and the files. Its arguments
// have no spaces.
func (h *Hosts) Spread(mpirun *exec.Cmd) *exec.Cmd {
	there := "10.213.77.0/24"
	args := append([]string{mpirun.Args[0], "--host", h.Names[0] + ":1," + h.Names[1] + ":1", "--mca", "plm_rsh_agent", h.agent, "--mca", "btl", "tcp,self",
		"--mca", "btl_tcp_if_include", there, "--mca", "oob_tcp_if_include", there}, mpirun.Args[1:]...)
	cmd := exec.CommandContext(h.t.Context(), h.agent, h.Names[0], strings.Join(args, " "))
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = mpirun.Env, mpirun.Dir, mpirun.Stdout, mpirun.Stderr, mpirun.WaitDelay
	return cmd
}
