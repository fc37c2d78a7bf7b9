package object

import (
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// Dir returns the folder of a path, or what stands before the last slash of an address.
func Dir(name string) string {
	if !IsAddress(name) {
		return filepath.Dir(name)
	}
	name, _, _ = strings.Cut(name, "?")
	if scheme, rest, _ := strings.Cut(name, "://"); strings.Contains(rest, "/") {
		return scheme + "://" + rest[:strings.LastIndexByte(rest, '/')]
	}
	return name
}

// Common returns the folder that all of some names lie in or below.
func Common(names []string) string {
	dir := Dir(names[0])
	for _, n := range names[1:] {
		for dir != Dir(dir) && Dir(n) != dir && !strings.HasPrefix(filepath.ToSlash(n), strings.TrimSuffix(filepath.ToSlash(dir), "/")+"/") {
			dir = Dir(dir)
		}
	}
	return dir
}

// Join returns the name of what lies in a folder, which may be an address. name has slashes. What is an address or an absolute path
// by itself stays so, but in a folder that is an address a slash at the beginning means nothing.
func Join(dir, name string) string {
	switch {
	case IsAddress(name):
		return name
	case !IsAddress(dir):
		if name = filepath.FromSlash(name); filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	scheme, rest, _ := strings.Cut(strings.TrimRight(dir, "/"), "://")
	host, below, _ := strings.Cut(rest, "/")
	if scheme != "s3" { // whose keys are no paths of URLs
		below = unescaped(below)
	}
	joined := strings.TrimPrefix(path.Join("/", below, name), "/") // there is nothing above a host
	if scheme != "s3" {
		joined = strings.TrimPrefix((&url.URL{Path: "/" + joined}).EscapedPath(), "/")
	}
	return scheme + "://" + host + "/" + joined
}

func unescaped(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}
