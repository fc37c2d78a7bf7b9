// Package slurmtest gives tests a private Slurm cluster on this machine: its own ports, state and configuration, no
// authentication, and no accounting.
package slurmtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Cluster is a running one. Its nodes are n1, n2, …, of two processors each.
type Cluster struct {
	t       *testing.T
	dir     string // configuration, state and logs
	conf    string
	daemons map[string]*exec.Cmd // by name of the node; "" controls them
}

const configuration = `ClusterName=tandem
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=%[1]d
SlurmUser=root
SlurmdUser=root
StateSaveLocation=%[2]s/state
SlurmdSpoolDir=%[2]s/spool.%%n
SlurmctldPidFile=%[2]s/ctld.pid
SlurmdPidFile=%[2]s/d.%%n.pid
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
ReturnToService=2
PropagateResourceLimits=NONE
KillWait=30
OverTimeLimit=0
SlurmdTimeout=8
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,sched_interval=1,bf_interval=1
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`

// Start starts a cluster of so many nodes, and sets SLURM_CONF for the test. It skips the test where Slurm is not installed,
// or may not start jobs.
func Start(t *testing.T, nodes int) *Cluster {
	t.Helper()
	for _, program := range []string{"slurmctld", "slurmd", "sbatch"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s on this machine: what runs on Slurm is not tested (apt-get install slurmctld slurmd slurm-client)", program)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("the nodes of a private Slurm cluster start jobs as root only: what runs on Slurm is not tested")
	}
	c := &Cluster{t: t, dir: t.TempDir(), daemons: map[string]*exec.Cmd{}}
	if err := os.Mkdir(filepath.Join(c.dir, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, nodes+1)
	text := fmt.Sprintf(configuration, ports[0], c.dir)
	for i, port := range ports[1:] {
		text += fmt.Sprintf("NodeName=n%d NodeHostname=localhost NodeAddr=127.0.0.1 Port=%d CPUs=2 RealMemory=2000\n", i+1, port)
	}
	c.conf = filepath.Join(c.dir, "slurm.conf")
	if err := os.WriteFile(c.conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SLURM_CONF", c.conf)
	t.Cleanup(c.stop)
	runtime.LockOSThread() // the daemons end with the thread that starts them, should the test be killed
	c.start("", "slurmctld", "-D", "-c", "-i", "-f", c.conf)
	for i := range nodes {
		c.StartNode(fmt.Sprintf("n%d", i+1))
	}
	for range 600 {
		if out, _ := exec.Command("sinfo", "-h", "-N", "-o", "%T").Output(); strings.Count(string(out), "idle") == nodes {
			return c
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the cluster does not come up")
	return nil
}

func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func (c *Cluster) log(name string) string { return filepath.Join(c.dir, "log"+name) }

func (c *Cluster) start(name string, args ...string) {
	c.t.Helper()
	log, err := os.OpenFile(c.log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.daemons[name] = cmd
}

// StartNode starts the daemon of a node.
func (c *Cluster) StartNode(name string) {
	c.t.Helper()
	c.start(name, "slurmd", "-D", "-N", name, "-f", c.conf)
}

// stop ends the cluster with all that runs on it, and says of a failed test what its daemons said.
func (c *Cluster) stop() {
	control := c.daemons[""]
	for name := range c.daemons {
		if name != "" {
			c.KillNode(name)
		}
		if c.t.Failed() {
			said, _ := os.ReadFile(c.log(name))
			c.t.Logf("log%s\n%s", name, said[max(0, len(said)-3000):])
		}
	}
	if control != nil {
		_ = control.Process.Signal(syscall.SIGTERM)
		_ = control.Wait()
	}
}

// KillNode kills a node's daemon and all processes of its jobs, as a loss of power would.
func (c *Cluster) KillNode(name string) {
	cmd := c.daemons[name]
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	delete(c.daemons, name)
	for c.killSteps(name) > 0 {
		time.Sleep(20 * time.Millisecond)
	}
}

// killSteps kills the processes of a node's jobs, and the daemons of Slurm above them.
func (c *Cluster) killSteps(name string) (killed int) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range all {
		env, _ := os.ReadFile(path)
		fields := strings.Split(string(env), "\x00")
		if !slices.Contains(fields, "SLURM_CONF="+c.conf) || !slices.Contains(fields, "SLURMD_NODENAME="+name) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err != nil || pid < 2 || pid == os.Getpid() {
			continue
		}
		if parent := parentOf(pid); parent > 1 {
			comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", parent))
			if strings.HasPrefix(string(comm), "slurmstepd") {
				_ = syscall.Kill(parent, syscall.SIGKILL)
			}
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		killed++
	}
	return killed
}

func parentOf(pid int) int {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	if f := strings.Fields(rest); len(f) > 1 {
		n, _ := strconv.Atoi(f[1])
		return n
	}
	return 0
}
