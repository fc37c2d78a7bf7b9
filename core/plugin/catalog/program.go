package catalog

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/files"
)

// A program in machine code is one file: it is opened, hashed and executed by one descriptor, so that what runs is what
// was hashed, whatever becomes of its name meanwhile. A script is a file and what it reads: its digest is that of all
// code in its folder, or of the files that its descriptor names, and of the versions that the descriptor tells.

// These limits bound the code in a script's folder.
const (
	maxCodeFiles = 2000
	maxCodeBytes = 256 << 20
)

// codeEndings lists the endings of files that count as code where a descriptor names none.
var codeEndings = []string{".py", ".pyx", ".so", ".sh", ".pl", ".pm", ".rb", ".js", ".mjs", ".ts", ".lua", ".jl", ".r", ".m", ".php", ".tcl"}

// Program holds a plugin file that is open.
type Program struct {
	File   *os.File
	SHA256 string // of the file alone
	Script bool   // it begins with #!, or is named *.py

	path  string
	stamp files.Stamp // before it was hashed
}

// OpenProgram opens and hashes a plugin's file. The caller closes it.
func OpenProgram(path string) (*Program, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	p := &Program{File: f, path: path}
	stat, err := f.Stat()
	if err == nil {
		p.stamp = files.StampOf(stat)
		p.SHA256, p.Script, err = hashProgram(f)
		p.Script = p.Script || strings.HasSuffix(path, ".py")
	}
	if err != nil {
		f.Close()
		return nil, files.Error(path, err)
	}
	return p, nil
}

// Unchanged reports whether the file still has the content that was hashed, whatever has become of its name.
func (p *Program) Unchanged() bool {
	if stat, err := p.File.Stat(); err == nil && files.StampOf(stat) == p.stamp {
		return true
	}
	sum, _, err := hashProgram(p.File)
	return err == nil && sum == p.SHA256
}

func hashProgram(f *os.File) (sum string, script bool, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", false, err
	}
	h, r := sha256.New(), bufio.NewReader(f)
	head, _ := r.Peek(2)
	if _, err := io.Copy(h, r); err != nil {
		return "", false, err
	}
	return hex.EncodeToString(h.Sum(nil)), bytes.Equal(head, []byte("#!")), nil
}

// Digest returns the digest of all that a script consists of. names lists its other files; nil means the code
// in its folder.
func (p *Program) Digest(names []string, versions map[string]string) (string, error) {
	dir := filepath.Dir(p.path)
	var err error
	if len(names) == 0 {
		names, err = findCode(dir, filepath.Base(p.path))
	} else {
		names, err = matchFiles(dir, names)
	}
	if err != nil {
		return "", fault.New(fault.KindOf(err), "%w", err).WithFile(p.path, 0, 0)
	}
	if len(names) == 0 && len(versions) == 0 {
		return p.SHA256, nil
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", p.SHA256)
	for _, name := range names {
		other, err := OpenProgram(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		other.File.Close()
		fmt.Fprintf(h, "%s %q\n", other.SHA256, name)
	}
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintf(h, "version %q %q\n", name, versions[name])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Files returns the files that a plugin consists of, relative to the folder of its program, which comes first.
func Files(b Binary, d clip.Descriptor) ([]string, error) {
	p, err := OpenProgram(b.Path)
	if err != nil {
		return nil, err
	}
	p.File.Close()
	names := []string{filepath.Base(b.Path)}
	if !p.Script {
		return names, nil
	}
	dir := filepath.Dir(b.Path)
	var more []string
	if len(d.Files) > 0 {
		more, err = matchFiles(dir, d.Files)
	} else {
		more, err = findCode(dir, names[0])
	}
	return append(names, more...), err
}

// matchFiles returns the files that a descriptor names, relative to its folder. Each pattern is a glob that
// must match something.
func matchFiles(dir string, patterns []string) ([]string, error) {
	var names []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			return nil, fault.New(fault.NotFound, "its descriptor names the file %q, which is not there", pattern)
		}
		for _, path := range found {
			if stat, err := os.Stat(path); err != nil || !stat.Mode().IsRegular() {
				continue
			}
			name, err := filepath.Rel(dir, path)
			if err != nil {
				return nil, fault.New(fault.Invalid, "%w", err)
			}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// findCode returns the files of code in a folder and below it, without the script itself. It passes over hidden
// folders, caches of compiled code and virtual environments.
func findCode(dir, script string) ([]string, error) {
	var names []string
	var bytes int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil && path == dir:
			return err
		case err != nil:
			return nil
		case d.IsDir() && path != dir:
			if strings.HasPrefix(name, ".") || name == "__pycache__" || name == "node_modules" {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "pyvenv.cfg")); err == nil {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || strings.HasPrefix(name, ".") || !slices.Contains(codeEndings, strings.ToLower(filepath.Ext(name))):
			return nil
		}
		stat, err := os.Stat(path) // links to code are code
		if err != nil || !stat.Mode().IsRegular() {
			return nil
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil || relative == script {
			return err
		}
		names, bytes = append(names, relative), bytes+stat.Size()
		if len(names) > maxCodeFiles || bytes > maxCodeBytes {
			return fault.New(fault.Invalid, "the folder %s holds more than %d files or %s of code, and any of them may be part of the script", dir, maxCodeFiles, clip.FormatBytes(maxCodeBytes)).
				WithHint("name those that are in the descriptor's files, or move the script to a folder of its own")
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// identify returns the descriptor of the plugin at a path, and the digest of what the plugin consists of. interpreter
// runs it, unless it is "".
func (c *Catalog) identify(path, interpreter string) (clip.Descriptor, string, error) {
	var none clip.Descriptor
	p, err := OpenProgram(path)
	if err != nil {
		return none, "", err
	}
	defer p.File.Close()
	if !p.Script {
		d, _, err := c.descriptor(command(interpreter, path), p.SHA256)
		return d, p.SHA256, err
	}
	sum, err := p.Digest(nil, nil)
	if err != nil && fault.KindOf(err) != fault.Invalid { // too much code: its descriptor may name what counts
		return none, "", err
	}
	var d clip.Descriptor
	var describeErr error
	fresh := true
	if err == nil {
		d, fresh, describeErr = c.descriptor(command(interpreter, path), sum)
	} else if d, describeErr = runDescribe(command(interpreter, path)); describeErr == nil && len(d.Files) == 0 {
		return none, "", err
	}
	// Versions are of other programs, which change without the script.
	if describeErr == nil && len(d.Versions) > 0 && !fresh && !maps.Equal(d.Versions, runVersions(interpreter, path, d)) {
		if d, describeErr = runDescribe(command(interpreter, path)); describeErr == nil {
			c.remember(sum, d)
		}
	}
	if describeErr != nil {
		return none, "", describeErr
	}
	sum, err = p.Digest(d.Files, d.Versions)
	return d, sum, err
}
