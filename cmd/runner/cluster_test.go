package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cluster is a private Slurm cluster of two nodes on this machine: its own ports, state and configuration, no authentication, and no
// accounting.
type cluster struct {
	t       *testing.T
	dir     string // what every node sees
	conf    string
	daemons map[string]*exec.Cmd
}

const slurmConf = `ClusterName=tandem
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
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=%[3]d CPUs=2 RealMemory=2000
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=%[4]d CPUs=2 RealMemory=2000
PartitionName=test Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
`

// startCluster starts one, or skips the test where Slurm is not installed.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	for _, program := range []string{"slurmctld", "slurmd", "sbatch"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s on this machine: what runs on Slurm is not tested (apt-get install slurmctld slurmd slurm-client)", program)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("the nodes of a private Slurm cluster start jobs as root only: what runs on Slurm is not tested")
	}
	c := &cluster{t: t, dir: t.TempDir(), daemons: map[string]*exec.Cmd{}}
	p := freePorts(t, 3)
	slurm := filepath.Join(c.dir, "slurm")
	if err := os.MkdirAll(filepath.Join(slurm, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.conf = filepath.Join(slurm, "slurm.conf")
	write(t, slurm, "slurm.conf", fmt.Sprintf(slurmConf, p[0], slurm, p[1], p[2]))
	t.Setenv("SLURM_CONF", c.conf)
	c.start("slurmctld", "slurmctld", "-D", "-c", "-i", "-f", c.conf)
	c.startNode("n1")
	c.startNode("n2")
	t.Cleanup(c.stop)
	waitFor(t, func() bool {
		out, _ := exec.Command("sinfo", "-h", "-N", "-o", "%T").Output()
		return strings.Count(string(out), "idle") == 2
	})
	return c
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

func (c *cluster) start(name string, args ...string) {
	c.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.OpenFile(filepath.Join(c.dir, "slurm", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.daemons[name] = cmd
}

func (c *cluster) startNode(name string) { c.start(name, "slurmd", "-D", "-N", name, "-f", c.conf) }

// stop ends the cluster with all that runs on it.
func (c *cluster) stop() {
	for _, node := range []string{"n1", "n2"} {
		c.killNode(node)
	}
	if cmd := c.daemons["slurmctld"]; cmd != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
	if c.t.Failed() {
		logs, _ := filepath.Glob(filepath.Join(c.dir, "results/cluster/*/logs/*"))
		for _, path := range append(logs, filepath.Join(c.dir, "slurm/slurmctld.log")) {
			text, _ := os.ReadFile(path)
			c.t.Logf("%s\n%s", filepath.Base(path), text[max(0, len(text)-3000):])
		}
	}
}

// killNode kills a node's daemon and all processes of its jobs, as a loss of power would.
func (c *cluster) killNode(name string) {
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
func (c *cluster) killSteps(name string) (killed int) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range all {
		env, _ := os.ReadFile(path)
		fields := bytes.Split(env, []byte{0})
		has := func(kv string) bool {
			for _, f := range fields {
				if string(f) == kv {
					return true
				}
			}
			return false
		}
		if !has("SLURM_CONF="+c.conf) || !has("SLURMD_NODENAME="+name) {
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

// trialState is what runner status says of a trial.
type trialState struct {
	Trial, Status, Task, Host string
	Step, Attempts            int
	History                   []struct {
		Attempt int
		Owner   struct{ Task, Host string }
		End     *struct{ Status, Why, Message string }
	}
}

type clusterState struct {
	Bundle string
	Trials []trialState
	Counts map[string]int
	Jobs   []clusterJob
}

type clusterJob struct{ Job, State, Node string }

// status asks runner how an experiment goes.
func (c *cluster) status(experiment string, args ...string) (s clusterState) {
	c.t.Helper()
	r := try(c.t, c.dir, append([]string{"status", experiment, "--json"}, args...)...)
	if r.code > 1 {
		c.t.Fatalf("status: %s", r.stderr)
	}
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		c.t.Fatalf("%v: %s", err, r.stdout)
	}
	return s
}
