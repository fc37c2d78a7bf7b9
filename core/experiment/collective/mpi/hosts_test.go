package mpi

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hosts are two network namespaces as two machines, connected by a cable.
type hosts struct {
	t     *testing.T
	names [2]string
	agent string // what mpirun starts programs on the other one with
}

// newHosts skips a test where namespaces cannot be made.
func newHosts(t *testing.T) *hosts {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("two machines are not tested: network namespaces need root and ip (apt-get install iproute2)")
	}
	h := &hosts{t: t, names: [2]string{fmt.Sprintf("tandem%da", os.Getpid()), fmt.Sprintf("tandem%db", os.Getpid())}}
	t.Cleanup(h.remove)
	for i, name := range h.names {
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("two machines are not tested: ip netns add: %s", out)
		}
		h.ip("-n", name, "link", "set", "lo", "up")
		if i == 1 {
			h.ip("link", "add", "cable", "netns", h.names[0], "type", "veth", "peer", "name", "cable", "netns", name)
		}
	}
	for i, name := range h.names {
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

func (h *hosts) ip(args ...string) {
	h.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		h.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// remove ends what still runs on the machines, and takes them away.
func (h *hosts) remove() {
	for _, name := range h.names {
		pids, _ := exec.Command("ip", "netns", "pids", name).Output()
		for _, pid := range strings.Fields(string(pids)) {
			_ = exec.Command("kill", "-KILL", pid).Run()
		}
		_ = exec.Command("ip", "netns", "delete", name).Run()
	}
}

// ranks returns the command that runs one rank of a role on each machine, which have nothing in common but TCP.
func (h *hosts) ranks(role string) *exec.Cmd {
	h.t.Helper()
	there := "10.213.77.0/24"
	cmd := ranks(h.t, 2, role, "--host", h.names[0]+":1,"+h.names[1]+":1", "--mca", "plm_rsh_agent", h.agent, "--mca", "btl", "tcp,self",
		"--mca", "btl_tcp_if_include", there, "--mca", "oob_tcp_if_include", there)
	here := exec.CommandContext(h.t.Context(), h.agent, h.names[0], strings.Join(cmd.Args, " "))
	here.Env, here.WaitDelay = cmd.Env, cmd.WaitDelay
	return here
}

func TestTwoMachinesGetTheSameBits(t *testing.T) {
	needMPI(t)
	h := newHosts(t)
	out, err := output(h.ranks("equal"))
	if err != nil || strings.Count(out, "done") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestARankThatIsKilledOnAnotherMachineIsGone(t *testing.T) {
	needMPI(t)
	h := newHosts(t)
	out, err := output(h.ranks("killed"))
	if want := "rank 1 on " + h.names[1] + " is gone: its process ended"; err == nil || strings.Count(out, want) != 1 {
		t.Errorf("want %q: %v\n%s", want, err, out)
	}
}

func TestAMachineThatDoesNotAnswerIsGone(t *testing.T) {
	needMPI(t)
	h := newHosts(t)
	cmd := h.ranks("steps")
	var out bytes.Buffer
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	go func() { <-ctx.Done(); r.Close() }()
	want := "rank 1 on " + h.names[1] + " is gone: its machine does not answer"
	cut := false
	for chunk := make([]byte, 4096); ; {
		n, err := r.Read(chunk)
		out.Write(chunk[:n])
		if !cut && strings.Count(out.String(), "process ") == 2 {
			cut = true
			h.ip("-n", h.names[1], "link", "set", "cable", "down")
		}
		if err != nil || strings.Contains(out.String(), want) {
			break
		}
	}
	if !strings.Contains(out.String(), want) {
		t.Errorf("want %q:\n%s", want, out.String())
	}
	h.remove()
	_ = cmd.Wait()
}
