package child

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

func procFD(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// Versions of Landlock that can limit more than the one before.
const (
	landlockRefer    = 2 // renaming from folder to folder
	landlockTruncate = 3
	landlockIoctl    = 5
	landlockScope    = 6 // signals, abstract sockets
)

// landlockVersion returns the version of Landlock that the kernel has; 0 for none.
func landlockVersion() int {
	version, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return version
}

// Lacks returns what a strict confinement does not keep a plugin from on this machine: sentences without a subject.
func Lacks() []string {
	var lacks []string
	switch version := landlockVersion(); {
	case version == 0:
		lacks = append(lacks, "may read and change all files that you may, and signal your processes: this kernel has no Landlock (Linux 5.13 or later has it, where it is not switched off)")
	case version < landlockScope:
		lacks = append(lacks, fmt.Sprintf("may signal your other processes: Landlock of this kernel has version %d, and that is of version %d", version, landlockScope))
		if version < landlockTruncate {
			lacks = append(lacks, "may empty files that you may change, which is of version 3")
		}
	}
	if !canFilterCalls() {
		lacks = append(lacks, "may use the network: this system cannot filter system calls")
	}
	return lacks
}

// systemRead lists what programs need of a system: libraries, interpreters, time zones, certificates, and what the
// kernel tells of the machine.
var systemRead = []string{
	"/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/nix/store", "/gnu/store", "/opt/cuda", "/proc", "/sys",
	"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/localtime", "/etc/timezone", "/etc/passwd",
	"/etc/group", "/etc/nsswitch.conf", "/etc/mime.types", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/alternatives",
	"/etc/OpenCL", "/etc/os-release", "/etc/locale.alias", "/etc/nvidia", "/dev/urandom", "/dev/random", "/dev/zero",
}

// systemWrite lists devices that programs write to: the bin, and GPUs.
var systemWrite = []string{"/dev/null", "/dev/full", "/dev/tty", "/dev/dri", "/dev/kfd", "/dev/nvidia-caps"}

// become limits this process and executes a program. All limits are those of the calling thread, which the program
// takes over.
func become(o order, env []string) error {
	runtime.LockOSThread()
	if len(o.Cores) > 0 {
		var set unix.CPUSet
		for _, core := range o.Cores {
			set.Set(core)
		}
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("processors %v: %w", o.Cores, err)
		}
	}
	if o.CodeAt != 0 {
		if err := unix.Dup3(o.Code, o.CodeAt, unix.O_CLOEXEC); err != nil {
			return err
		}
		unix.Close(o.Code)
	}
	if o.Strict {
		if err := restrict(o.Read, o.Write); err != nil && !o.Lenient {
			return fmt.Errorf("it cannot be confined: %w", err)
		}
	}
	return fmt.Errorf("%s: %w", o.Program, syscall.Exec(o.Program, o.Args, env))
}

// restrict limits the calling thread strictly.
func restrict(read, write []string) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	dropPrivileges()
	version := landlockVersion()
	if version > 0 {
		gpus, _ := filepath.Glob("/dev/nvidia*")
		rules := append(rulesFor(slices.Concat(read, systemRead), landlock.RODirs, landlock.ROFiles), rulesFor(write, func(dirs ...string) landlock.FSRule {
			if version < landlockRefer { // asked for in vain it would switch all limits off
				return landlock.RWDirs(dirs...)
			}
			return landlock.RWDirs(dirs...).WithRefer()
		}, landlock.RWFiles)...)
		rules = append(rules, rulesFor(slices.Concat(systemWrite, gpus), func(dirs ...string) landlock.FSRule {
			return landlock.RWDirs(dirs...).WithIoctlDev()
		}, func(files ...string) landlock.FSRule { return landlock.RWFiles(files...).WithIoctlDev() })...)
		fd, flags, err := landlock.V6.BestEffort().NewRulesetFD(rules...)
		if err == nil {
			err = ll.LandlockRestrictSelf(fd, flags)
			unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("landlock: %w", err)
		}
	}
	if canFilterCalls() {
		return filterCalls()
	}
	return nil
}

// rulesFor returns rules for those of some paths that exist.
func rulesFor(paths []string, dirs, files func(...string) landlock.FSRule) (rules []landlock.Rule) {
	for _, path := range paths {
		switch stat, err := os.Stat(path); {
		case err != nil:
		case stat.IsDir():
			rules = append(rules, dirs(path).IgnoreIfMissing())
		default:
			rules = append(rules, files(path).IgnoreIfMissing())
		}
	}
	return rules
}

// keptPrivileges lists those of root's privileges that stay: a root's files may be those of others.
var keptPrivileges = []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER}

// dropPrivileges takes from the program that is executed next what root may do beyond files.
func dropPrivileges() {
	for privilege := uintptr(0); privilege <= unix.CAP_LAST_CAP; privilege++ {
		if !slices.Contains(keptPrivileges, privilege) {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, privilege, 0, 0, 0) // others than root have none to drop
		}
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
}

// Cores returns the processors that this process may run on.
func Cores() (list []int) {
	var set unix.CPUSet
	if unix.SchedGetaffinity(os.Getpid(), &set) != nil {
		return nil
	}
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			list = append(list, i)
		}
	}
	return list
}
