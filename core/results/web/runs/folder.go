package runs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"tandem/core/fault"
	"tandem/core/plugin/journal"
	"tandem/core/results/store"
)

// What is read of a run's folder at most.
const (
	mostSpec    = 1 << 20   // bytes
	mostLog     = 256 << 10 // bytes of each log
	mostRecords = 300       // of each log
	mostLogs    = 64
)

// folder is the folder of a run's files. A link that leads out of the folder of runs is not followed.
type folder struct{ root *os.Root }

// open opens the folder of a run below runsDir. What is no id of a run has none.
func open(runsDir, id string) (*folder, error) {
	if !store.IsID(id) {
		return nil, fault.New(fault.Invalid, "%q is no id of a run", id)
	}
	missing := fault.New(fault.NotFound, "the folder of run %s is not in %s: it was made elsewhere, or its files were deleted", id, runsDir)
	runs, err := os.OpenRoot(runsDir)
	if err != nil {
		return nil, missing
	}
	defer runs.Close()
	root, err := runs.OpenRoot(id)
	if err != nil {
		return nil, missing
	}
	return &folder{root}, nil
}

func (f *folder) Close() error { return f.root.Close() }

// file opens a regular file and returns its size. It waits for nobody, as a pipe would.
func (f *folder) file(name string) (*os.File, int64, error) {
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", name)
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// log is the end of what a plugin wrote.
type log struct {
	Role, Plugin string
	Records      []record
	Cut          bool // there is more before it
	Grave        bool // there is an error among the records
	Size         int64
}

type record struct {
	Time, Level, Message string
}

// logs returns the ends of all logs, and a remark where there are none.
func (f *folder) logs() ([]log, string) {
	dir, err := f.root.Open("logs")
	if err != nil {
		return nil, "its folder has no logs"
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, err.Error()
	}
	var all []log
	for _, e := range entries {
		role, isLog := strings.CutPrefix(e.Name(), "plugin-")
		role, ends := strings.CutSuffix(role, ".log")
		if !isLog || !ends || len(all) == mostLogs {
			continue
		}
		l, err := f.log(e.Name(), role)
		if err != nil {
			l = log{Role: role, Records: []record{{Level: journal.Warn, Message: "cannot be read: " + reason(err)}}}
		}
		all = append(all, l)
	}
	if len(all) == 0 {
		return nil, "its plugins wrote nothing"
	}
	order(all)
	return all, ""
}

func (f *folder) log(name, role string) (log, error) {
	l := log{Role: role}
	file, size, err := f.file("logs/" + name)
	if err != nil {
		return l, err
	}
	defer file.Close()
	records, cut, err := journal.Tail(file, size, name, mostLog)
	if err != nil {
		return l, err
	}
	l.Size, l.Cut = size, cut || len(records) > mostRecords
	for _, r := range records[max(0, len(records)-mostRecords):] {
		l.Plugin = r.Plugin
		l.Role = r.Role
		l.Grave = l.Grave || r.Level == journal.Error
		l.Records = append(l.Records, newRecord(r))
	}
	return l, nil
}

// spec is the settings of a run by lines.
type spec struct {
	Lines []line
	Note  string // why there are no places; "": there are
}

// line is a line of a spec with the place where its value was set.
type line struct{ Text, Place string }

// spec returns the recorded spec with the places of its values. They are comments of the file that lies in the run's folder.
func (f *folder) spec(recorded string) spec {
	file, size, err := f.file("spec.yaml")
	if err != nil {
		return spec{lines(recorded, ""), "the run's folder has no spec.yaml"}
	}
	defer file.Close()
	if size > mostSpec {
		return spec{lines(recorded, ""), fmt.Sprintf("spec.yaml in the run's folder has %d bytes", size)}
	}
	text, err := io.ReadAll(io.LimitReader(file, mostSpec))
	if err != nil {
		return spec{lines(recorded, ""), reason(err)}
	}
	placed := lines(recorded, string(text))
	if placed == nil {
		return spec{lines(recorded, ""), "spec.yaml in the run's folder says something else"}
	}
	return spec{placed, ""}
}

// lines pairs the lines of a spec with those of the same spec with comments. It returns nil when that is another spec.
func lines(recorded, commented string) (all []line) {
	own := strings.Split(strings.TrimRight(recorded, "\n"), "\n")
	if commented == "" {
		for _, l := range own {
			all = append(all, line{Text: l})
		}
		return all
	}
	with := strings.Split(strings.TrimRight(commented, "\n"), "\n")
	if len(with) != len(own) {
		return nil
	}
	for i, l := range own {
		rest, ok := strings.CutPrefix(with[i], l)
		place, isPlace := strings.CutPrefix(rest, " # ")
		if !ok || rest != "" && !isPlace {
			return nil
		}
		all = append(all, line{l, place})
	}
	return all
}

// reason returns an error of the file system without the path, which is the server's.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
