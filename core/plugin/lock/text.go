package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/files/leftover"
)

const (
	header = "runner.lock 1" // the format's version; another one is refused
	most   = 16 << 20        // bytes of a file
)

const preface = `# The plugins that results here are made with. "runner plugin lock" writes this file, "runner plugin verify"
# compares it with the plugins that are found, and --locked refuses all others. Keep it with your specs.
`

var (
	pluginLine = regexp.MustCompile(`^([a-z]+/[^\s/]+) version ("(?:[^"\\]|\\.)*") protocol (\d+)$`)
	digestLine = regexp.MustCompile(`^  ([a-z0-9]+/[a-z0-9_]+) sha256:([0-9a-f]{64})$`)
)

// Text returns the file: a paragraph for each version of a plugin, a line for each digest.
func (f *File) Text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s\n", preface, header)
	for _, e := range f.Entries {
		fmt.Fprintf(&b, "\n%s version %q protocol %d\n", e.Plugin, e.Version, e.Protocol)
		for _, platform := range slices.Sorted(maps.Keys(e.Digests)) {
			for _, sha := range e.Digests[platform] {
				fmt.Fprintf(&b, "  %s sha256:%s\n", platform, sha)
			}
		}
	}
	return b.Bytes()
}

// Write writes the file whole or not at all.
func (f *File) Write() error {
	_, err := leftover.Replace(f.Path, func(to *os.File) error { _, err := to.Write(f.Text()); return err })
	if err != nil {
		return fault.New(fault.Unavailable, "%s: %w", f.Path, err)
	}
	return nil
}

// Read reads the file at path. Errors: fault.NotFound, and fault.Invalid with the line that is none.
func Read(path string) (*File, error) {
	text, err := files.Read(path, most)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// Parse reads the text of the file at path.
func Parse(path string, text []byte) (*File, error) {
	f := &File{Path: path}
	begun := false
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimRight(line, " \t\r")
		refuse := func(format string, args ...any) (*File, error) {
			return nil, fault.New(fault.Invalid, format, args...).WithFile(path, i+1, 1).WithHint("mend the line, or remove the file and write it again: runner plugin lock SPEC")
		}
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "<<<<<<<") || strings.HasPrefix(line, ">>>>>>>") || line == "=======":
			return refuse("there is a conflict of a merge")
		case !begun && line != header:
			return refuse("%.60q, want %q: this is no lock of this runner", line, header)
		case !begun:
			begun = true
		case strings.HasPrefix(line, " "):
			m := digestLine.FindStringSubmatch(line)
			if m == nil || len(f.Entries) == 0 {
				return refuse("%.90q is no digest of a platform", line)
			}
			digests := f.Entries[len(f.Entries)-1].Digests
			if slices.Contains(digests[m[1]], m[2]) {
				return refuse("a digest is there twice")
			}
			digests[m[1]] = append(digests[m[1]], m[2])
		default:
			m := pluginLine.FindStringSubmatch(line)
			if m == nil {
				return refuse("%.90q is no plugin with its version and protocol", line)
			}
			version, err := strconv.Unquote(m[2])
			protocol, protocolErr := strconv.Atoi(m[3])
			if err = errors.Join(err, protocolErr); err != nil {
				return refuse("%.90q: %v", line, err)
			}
			if slices.ContainsFunc(f.Entries, func(e Entry) bool { return e.Plugin == m[1] && e.Version == version && e.Protocol == protocol }) {
				return refuse("%s %s is there twice", m[1], version)
			}
			f.Entries = append(f.Entries, Entry{m[1], version, protocol, map[string][]string{}})
		}
	}
	if !begun {
		return nil, fault.New(fault.Invalid, "the file has no line %q: it is no lock, or not a whole one", header).WithFile(path, 1, 1)
	}
	f.sort()
	return f, nil
}

// Find returns the path of the lock for a spec: the one beside it, else the one in the current folder. found is false where
// there is neither, and path is then where one belongs. spec may be "".
func Find(spec string) (path string, found bool) {
	beside := filepath.Join(filepath.Dir(spec), Name)
	for _, path := range []string{beside, Name} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, true // one that cannot be read is reported when it is
		}
	}
	return beside, false
}
