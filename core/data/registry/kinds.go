package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"

	"tandem/core/fault"
)

// Registry names where packages are published.
type Registry string

// The registries.
const (
	NPM    Registry = "npm"    // the archive is a .tgz with one folder, package/
	Go     Registry = "go"     // a module's zip, its folder is MODULE@VERSION/
	Debian Registry = "debian" // a .deb, unpacked without being installed
)

// program returns the program that talks to the registry.
func (r Registry) program() string {
	return map[Registry]string{NPM: "npm", Go: "go", Debian: "apt-get"}[r]
}

// remedy tells what to look at when the program fails.
func (r Registry) remedy() string {
	return map[Registry]string{
		NPM:    "npm needs to reach its registry: npm config get registry",
		Go:     "go needs to reach its proxy: go env GOPROXY",
		Debian: "apt-get needs a list of packages and to reach its mirror: sudo apt-get update",
	}[r]
}

// fetch puts the package's archive below temp and returns its path.
func (r Registry) fetch(ctx context.Context, temp string, p Package) (string, error) {
	switch r {
	case NPM:
		if _, err := run(ctx, temp, p, "npm", "pack", "--silent", "--pack-destination", temp, p.id()); err != nil {
			return "", err
		}
		return only(temp, "*.tgz", p)
	case Go:
		out, err := run(ctx, temp, p, "go", "mod", "download", "-json", p.id())
		if err != nil {
			return "", err
		}
		var module struct{ Zip string }
		if err := json.Unmarshal(out, &module); err != nil || module.Zip == "" {
			return "", fault.New(fault.Corrupt, "go mod download names no archive of %s", p.id()).WithDetail(string(out))
		}
		return module.Zip, nil
	case Debian:
		if _, err := run(ctx, temp, p, "apt-get", "download", p.Name); err != nil {
			return "", err
		}
		deb, err := only(temp, "*.deb", p)
		if err != nil {
			return "", err
		}
		tar := filepath.Join(temp, "files.tar")
		_, err = run(ctx, temp, p, "sh", "-c", `dpkg-deb --fsys-tarfile "$1" > "$2"`, "sh", deb, tar)
		return tar, err
	}
	return "", fault.New(fault.Internal, "no registry %q", string(r))
}

// only returns the one file of temp that a pattern matches.
func only(temp, pattern string, p Package) (string, error) {
	found, err := filepath.Glob(filepath.Join(temp, pattern))
	if err != nil || len(found) != 1 {
		return "", fault.New(fault.NotFound, "%s left %d archives of %s", p.Registry.program(), len(found), p.id())
	}
	return found[0], nil
}

// byHand returns a command that does the same without the registry's program.
func (r Registry) byHand(p Package, into string) string {
	switch r {
	case NPM:
		base := p.Name[strings.LastIndex(p.Name, "/")+1:]
		return fmt.Sprintf("curl -L https://registry.npmjs.org/%s/-/%s-%s.tgz | tar xz --strip-components=1 -C %s", p.Name, base, p.Version, into)
	case Go:
		return fmt.Sprintf("curl -L -o module.zip https://proxy.golang.org/%s/@v/%s.zip && unzip -j module.zip -d %s", escaped(p.Name), p.Version, into)
	default:
		return fmt.Sprintf("dpkg-deb --extract %s_*.deb %s   # the file from https://packages.debian.org/%s", p.Name, into, p.Name)
	}
}

// escaped returns a module's path as proxies spell it: "!g" for "G".
func escaped(module string) string {
	var b strings.Builder
	for _, r := range module {
		if unicode.IsUpper(r) {
			b.WriteByte('!')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
