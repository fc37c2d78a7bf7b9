package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"tandem/core/fault"
	"tandem/core/files/leftover"
)

// getFlag asks for the packages: emoji --get DIR. The runner passes on what is printed, and the exit code.
const getFlag = "--get"

// The exit codes of getting, which are the runner's.
const (
	exitFailed      = 1
	exitInterrupted = 130
)

// npmPackage names a published package and the files of it that are wanted.
type npmPackage struct {
	name, version string
	want          *regexp.Regexp
}

// packages lists what the dataset reads with a root.
var packages = []npmPackage{
	{"emoji-datasource-google", "16.0.0", regexp.MustCompile(`^(package\.json|emoji\.json|LICENSE.*|README.*|img/google/64/.*\.png)$`)},
	{"emoji-datasource-twitter", "16.0.0", regexp.MustCompile(`^(package\.json|emoji\.json|LICENSE.*|README.*|img/twitter/64/.*\.png)$`)},
	{"emojibase-data", "17.0.0", regexp.MustCompile(`^(package\.json|LICENSE.*|README.*|(en|meta)/.*\.json)$`)},
}

// getMain fetches the packages into dir, tells stderr what it does and returns the exit code.
func getMain(dir string, stderr io.Writer) int {
	ctx, end := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer end()
	err := get(ctx, dir, func(text string) { fmt.Fprintln(stderr, fault.Printable(text)) })
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, fault.Format(err))
	if fault.KindOf(err) == fault.Canceled {
		return exitInterrupted
	}
	return exitFailed
}

// get fetches the packages with npm into dir, each below its name; those that are there already stay. say is told
// what is being done. Without npm it is fault.Unavailable, saying how to do the same by hand.
func get(ctx context.Context, dir string, say func(string)) error {
	var missing []npmPackage
	for _, p := range packages {
		if _, err := os.Stat(filepath.Join(dir, p.name, "package.json")); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		say("all packages are in " + dir)
		return nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return fault.New(fault.Unavailable, "npm is not installed").WithHint("install npm, or do this by hand").WithDetail(byHand(dir, missing))
	}
	temp, release, err := leftover.Dir("tandem-npm-")
	if err != nil {
		return fault.New(fault.Exhausted, "%w", err)
	}
	defer release()
	for _, p := range missing {
		say("fetching " + p.name + "@" + p.version)
		cmd := exec.CommandContext(ctx, npm, "pack", "--silent", "--pack-destination", temp, p.name+"@"+p.version)
		cmd.Dir = temp
		if out, err := cmd.CombinedOutput(); err != nil {
			if ctx.Err() != nil {
				return fault.New(fault.Canceled, "fetching %s: %w", p.name, ctx.Err())
			}
			return fault.New(fault.Unavailable, "npm pack %s@%s: %w", p.name, p.version, err).WithDetail(string(out)).
				WithHint("npm needs to reach its registry: npm config get registry")
		}
		if err := unpack(filepath.Join(temp, p.name+"-"+p.version+".tgz"), dir, p); err != nil {
			return err
		}
	}
	return nil
}

// byHand returns the commands that fetch packages without npm.
func byHand(dir string, missing []npmPackage) string {
	var b strings.Builder
	for _, p := range missing {
		b.WriteString("mkdir -p " + filepath.Join(dir, p.name) + "\n")
		b.WriteString("curl -L https://registry.npmjs.org/" + p.name + "/-/" + p.name + "-" + p.version + ".tgz | tar xz --strip-components=1 -C " + filepath.Join(dir, p.name) + "\n")
	}
	return b.String()
}

// unpack takes the wanted files of an npm archive to dir/<name>, whole or not at all.
func unpack(archive, dir string, p npmPackage) error {
	f, err := os.Open(archive)
	if err != nil {
		return fault.New(fault.NotFound, "npm left no archive: %w", err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return fault.New(fault.Corrupt, "%s: %w", p.name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	temp, err := os.MkdirTemp(dir, "."+p.name+"-")
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	defer os.RemoveAll(temp)
	n := 0
	for files := tar.NewReader(zip); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fault.New(fault.Corrupt, "%s: %w", p.name, err)
		}
		_, name, _ := strings.Cut(path.Clean(h.Name), "/") // below "package"
		if h.Typeflag != tar.TypeReg || !p.want.MatchString(name) || !filepath.IsLocal(path.Clean(h.Name)) {
			continue
		}
		if err := extract(filepath.Join(temp, filepath.FromSlash(name)), files); err != nil {
			return fault.New(fault.Exhausted, "%s: %w", p.name, err)
		}
		n++
	}
	if n == 0 {
		return fault.New(fault.Corrupt, "%s@%s has none of the files wanted", p.name, p.version)
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	target := filepath.Join(dir, p.name)
	if err := os.RemoveAll(target); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	if err := os.Rename(temp, target); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	return nil
}

// extract writes a file and the folders above it.
func extract(file string, r io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}
