package registry

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"tandem/core/fault"
)

// unpack takes the wanted files of an archive to the package's folder below dir, all or none.
func (p Package) unpack(archive, dir string) error {
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, p.Folder)), 0o755); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	temp, err := os.MkdirTemp(dir, ".get-")
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	defer os.RemoveAll(temp)
	root, err := os.OpenRoot(temp) // nothing is written outside, whatever links say
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	defer root.Close()
	n := 0
	take := func(name, link string, r io.Reader) error {
		name = p.inside(name)
		if name == "" || !p.Want.MatchString(name) {
			return nil
		}
		if link != "" { // of Debian's packages: to a file of the same package
			if to := path.Join(path.Dir(name), link); path.IsAbs(link) || !filepath.IsLocal(to) || !p.Want.MatchString(to) {
				return nil
			}
			n++
			return errors.Join(root.MkdirAll(path.Dir(name), 0o755), root.Symlink(link, name))
		}
		n++
		return extract(root, name, r)
	}
	if p.Registry == Go {
		err = eachOfZip(archive, take)
	} else {
		err = eachOfTar(archive, take)
	}
	if err != nil {
		return fault.New(fault.Corrupt, "%s: %w", p.id(), err)
	}
	if n == 0 {
		return fault.New(fault.Corrupt, "%s has none of the files wanted", p.id())
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	target := filepath.Join(dir, p.Folder)
	if err := os.RemoveAll(target); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	if err := os.Rename(temp, target); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	return nil
}

// inside returns a member's path in the package, "" for one that leads out of it.
func (p Package) inside(name string) string {
	if !filepath.IsLocal(path.Clean(name)) {
		return ""
	}
	name = path.Clean(name)
	switch p.Registry {
	case NPM:
		_, name, _ = strings.Cut(name, "/") // below "package"
	case Go:
		name = strings.TrimPrefix(name, p.Name+"@"+p.Version+"/")
	}
	if p.Below != "" {
		below, ok := strings.CutPrefix(name, p.Below+"/")
		if !ok {
			return ""
		}
		return below
	}
	return name
}

// eachOfTar hands over the regular files and links of a tar file, gzipped or not.
func eachOfTar(archive string, take func(name, link string, r io.Reader) error) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	buffered := bufio.NewReader(f)
	var r io.Reader = buffered
	if start, err := buffered.Peek(2); err == nil && start[0] == 0x1f && start[1] == 0x8b {
		if r, err = gzip.NewReader(buffered); err != nil {
			return err
		}
	}
	for members := tar.NewReader(r); ; {
		h, err := members.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		link := ""
		switch h.Typeflag {
		case tar.TypeReg:
		case tar.TypeSymlink:
			link = h.Linkname
		default:
			continue
		}
		if err := take(h.Name, link, members); err != nil {
			return err
		}
	}
}

// eachOfZip hands over the files of a zip file.
func eachOfZip(archive string, take func(name, link string, r io.Reader) error) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, m := range z.File {
		if !m.Mode().IsRegular() {
			continue
		}
		r, err := m.Open()
		if err != nil {
			return err
		}
		if err := errors.Join(take(m.Name, "", r), r.Close()); err != nil {
			return err
		}
	}
	return nil
}

// extract writes a file and the folders above it.
func extract(root *os.Root, name string, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := root.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}
