package mpi

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/core/experiment/collective"
)

// slurm starts a cluster of this machine for a test and returns the environment of its commands.
func slurm(t *testing.T) []string {
	t.Helper()
	for _, program := range []string{"slurmctld", "slurmd", "srun", "sinfo"} {
		if _, err := exec.LookPath(program); err != nil || os.Getuid() != 0 {
			t.Skipf("srun is not tested: it needs root and %s (apt-get install slurmctld slurmd slurm-client)", program)
		}
	}
	dir := t.TempDir()
	var ports []any
	var listeners []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	for _, l := range listeners {
		l.Close()
	}
	conf := filepath.Join(dir, "slurm.conf")
	text := strings.ReplaceAll(fmt.Sprintf(`ClusterName=tandem
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=%d
SlurmUser=root
SlurmdUser=root
StateSaveLocation=DIR/state
SlurmdSpoolDir=DIR/spool.%%n
SlurmctldPidFile=DIR/ctld.pid
SlurmdPidFile=DIR/d.%%n.pid
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
PropagateResourceLimits=NONE
KillWait=5
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,sched_interval=1,bf_interval=1
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=%d CPUs=2 RealMemory=500
PartitionName=test Nodes=n1 Default=YES MaxTime=INFINITE State=UP
`, ports...), "DIR", dir)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // the daemons end with the thread that starts them
	env := append(os.Environ(), "SLURM_CONF="+conf)
	for i, args := range [][]string{{"slurmctld", "-D", "-c", "-i", "-f", conf}, {"slurmd", "-D", "-N", "n1", "-f", conf}} {
		log, err := os.Create(filepath.Join(dir, fmt.Sprintf("log%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
			log.Close()
			if said, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
				t.Logf("%s:\n%s", args[0], said)
			}
		})
	}
	for range 600 {
		cmd := exec.Command("sinfo", "-h", "-N", "-o", "%T")
		cmd.Env = env
		if out, _ := cmd.Output(); strings.Count(string(out), "idle") == 1 {
			return env
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the cluster does not come up")
	return nil
}

// srun runs this program as tasks of a role.
func srun(t *testing.T, env []string, role string, options ...string) (string, error) {
	t.Helper()
	args := append(options, os.Args[0])
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	cmd := exec.CommandContext(ctx, "srun", args...)
	cmd.Env = append(env, roleEnv+"="+role, LibraryEnv+"="+needMPI(t))
	cmd.WaitDelay = time.Second
	return output(cmd)
}

func TestSrunStartsRanks(t *testing.T) {
	needMPI(t)
	env := slurm(t)
	list := exec.Command("srun", "--mpi=list")
	list.Env = env
	if out, err := list.CombinedOutput(); err != nil || !strings.Contains(string(out), "pmix") {
		t.Skipf("srun is not tested: it has no pmix: %s", out)
	}
	out, err := srun(t, env, "differ", "--mpi=pmix", "-N", "1", "-n", "2")
	if err != nil || strings.Count(out, "done") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = srun(t, env, "open", "--mpi=none", "-n", "2")
	if err == nil || strings.Count(out, "of 2 started by srun: ") != 2 || !strings.Contains(out, "srun --mpi=pmix") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, with := range []string{"none", "pmix"} {
		if out, err = srun(t, env, "alone", "--mpi="+with, "-n", "1"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	out, err = srun(t, env, "killed", "--mpi=pmix", "-N", "1", "-n", "2", "--kill-on-bad-exit=1")
	if err == nil || !strings.Contains(out, "rank 1 on "+collective.Host()+" is gone: its process ended") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, pid := range pids(out) {
		if !endsSoon(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}
}
