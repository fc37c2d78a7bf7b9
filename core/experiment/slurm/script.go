// Package slurm runs the tasks of a bundle as an array of Slurm: it writes the scripts, calls sbatch, squeue, scontrol and scancel, and reads
// what they say. It needs no accounting: what became of trials stands in the ledger, what is to come in the queue.
package slurm

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem/core/experiment/bundle"
	"tandem/core/fault"
)

// Lead is how long before the end of a task's time Slurm tells it, unless Options say otherwise.
const Lead = 2 * time.Minute

// Directive is an option of sbatch: partition and gpu.
type Directive struct{ Name, Value string }

// Options say how a bundle is submitted.
type Options struct {
	Round      int
	Tasks      int           // of the array
	AtOnce     int           // tasks at a time; 0: no limit
	Directives []Directive   // of the user, for the array
	Raw        []string      // whole options of sbatch: --exclusive
	Lead       time.Duration // 0: Lead
	Lease      time.Duration // 0: the ledger's
	DB         string        // that results are merged into; "": no merge job
}

// ofMerge lists the directives that the merge job has too.
var ofMerge = []string{"partition", "account", "qos", "reservation", "time"}

// reserved lists the options of sbatch that runner submit itself needs, and what to use instead.
var reserved = map[string]string{
	"array": "--tasks and --array-limit say how many tasks there are", "a": "--tasks and --array-limit say how many tasks there are",
	"wrap": "the task's program is the runner", "parsable": "it is set already", "signal": "--lead says how long before the end the task is told",
	"wait": "runner status tells how it goes", "W": "runner status tells how it goes", "comment": "it names the bundle",
	"no-requeue": "a task is started again when its time is over or its node fails", "dependency": "the merge job needs it",
}

// Check reports options that cannot be.
func (o Options) Check() error {
	invalid := func(flag, format string, args ...any) *fault.Error {
		return fault.New(fault.Invalid, flag+": "+format, args...)
	}
	switch {
	case o.Tasks < 1:
		return invalid("--tasks", "%d, want at least 1", o.Tasks)
	case o.AtOnce < 0:
		return invalid("--array-limit", "%d, want at least 1", o.AtOnce)
	case o.Lead < 0 || o.Lead%time.Second != 0 || o.Lead > 18*time.Hour:
		return invalid("--lead", "%v, want whole seconds, at most 18h", o.Lead)
	}
	for _, d := range o.Directives {
		if strings.ContainsAny(d.Value, "\n\r") {
			return invalid("--"+d.Name, "%q has more than one line", d.Value)
		}
	}
	for _, raw := range o.Raw {
		name, _, _ := strings.Cut(strings.TrimLeft(raw, "-"), "=")
		name, _, _ = strings.Cut(name, " ")
		switch hint, taken := reserved[name]; {
		case !strings.HasPrefix(raw, "-") || strings.ContainsAny(raw, "\n\r"):
			return invalid("--sbatch", "%q is no option", raw).WithHint("write it as in a script after #SBATCH: --sbatch '--exclusive'")
		case taken:
			return invalid("--sbatch", "%s is not yours to set", raw).WithHint("%s", hint)
		}
	}
	return nil
}

// Comment returns what the jobs of a bundle have as their comment, by which they are found in the queue.
func Comment(b *bundle.Bundle) string { return fmt.Sprintf("tandem:%.16s", b.Digest()) }

// LogsDir returns the folder that the jobs of a bundle write to.
func LogsDir(b *bundle.Bundle) string { return filepath.Join(b.Dir, "logs") }

// Script returns the script of the array.
func Script(b *bundle.Bundle, o Options) string {
	var s strings.Builder
	fmt.Fprintf(&s, "#!/bin/bash\n# %d trials of %s in %d tasks, each of which makes trials as long as there are any. Written by runner submit.\n", len(b.Trials()), b.Name(), o.Tasks)
	array := fmt.Sprintf("0-%d", o.Tasks-1)
	if o.AtOnce > 0 {
		array += fmt.Sprintf("%%%d", o.AtOnce)
	}
	lead := cmp.Or(o.Lead, Lead)
	directives := []Directive{
		{"job-name", b.Name()}, {"comment", Comment(b)}, {"array", array}, {"nodes", "1"}, {"ntasks", "1"},
		{"requeue", ""}, {"open-mode", "append"}, {"output", logName(b, "%A_%a.log")},
		{"signal", fmt.Sprintf("B:USR2@%d", int(lead.Seconds()))},
	}
	writeDirectives(&s, append(directives, o.Directives...), o.Raw)
	begin(&s, b)
	fmt.Fprintf(&s, "exec %s task %s --engine slurm --round %d --tasks %d --lead %v", quote(b.Runner()), quote(b.Dir), o.Round, o.Tasks, lead)
	writeLease(&s, o)
	return s.String()
}

// writeLease ends a command with the lease that all who work on a bundle share.
func writeLease(s *strings.Builder, o Options) {
	if o.Lease > 0 {
		fmt.Fprintf(s, " --lease %v", o.Lease)
	}
	s.WriteByte('\n')
}

// MergeScript returns the script of the job that joins the results of an array.
func MergeScript(b *bundle.Bundle, o Options, array string) string {
	var s strings.Builder
	s.WriteString("#!/bin/bash\n# Joins what the tasks have made into the study's database, whatever became of them. Written by runner submit.\n")
	directives := []Directive{{"job-name", b.Name() + "-merge"}, {"comment", Comment(b)}, {"dependency", "afterany:" + array},
		{"nodes", "1"}, {"ntasks", "1"}, {"output", logName(b, "merge-%j.log")}}
	for _, d := range o.Directives {
		if slices.Contains(ofMerge, d.Name) {
			directives = append(directives, d)
		}
	}
	writeDirectives(&s, directives, nil)
	begin(&s, b)
	fmt.Fprintf(&s, "exec %s merge %s --wait --db %s", quote(b.Runner()), quote(b.Dir), quote(o.DB))
	writeLease(&s, o)
	return s.String()
}

func logName(b *bundle.Bundle, name string) string {
	return filepath.Join(strings.ReplaceAll(LogsDir(b), "%", "%%"), name)
}

func writeDirectives(s *strings.Builder, directives []Directive, raw []string) {
	for _, d := range directives {
		s.WriteString("#SBATCH --" + d.Name)
		if d.Value != "" {
			s.WriteString("=" + quoteDirective(d.Value))
		}
		s.WriteByte('\n')
	}
	for _, option := range raw {
		s.WriteString("#SBATCH " + option + "\n")
	}
}

// begin writes what every job begins with: local files go to the node's own disk, and a node that does not see the bundle says so.
func begin(s *strings.Builder, b *bundle.Bundle) {
	fmt.Fprintf(s, `
export TMPDIR="${SLURM_TMPDIR:-${TMPDIR:-/tmp}}"
[ -d "$TMPDIR" ] || export TMPDIR=/tmp
if [ ! -x %[1]s ]; then
  echo "$(hostname) does not see "%[1]s": the folder has to be on a file system that every node sees under this path (--bundles)" >&2
  exit 2
fi
`, quote(b.Runner()))
}

// quote quotes a word for a shell.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// quoteDirective quotes the value of an option for sbatch, where it has to.
func quoteDirective(value string) string {
	if !strings.ContainsAny(value, " \t\"'#\\") {
		return value
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
