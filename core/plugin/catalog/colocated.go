package catalog

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/plugin/wire"
)

// colocatedName names the program, in a folder of plugins beside the folders of the kinds, that holds plugins in Go of the
// same build and serves several in one process. What it holds stands in <program>.json (wire.ColocatedManifest).
const colocatedName = "colocated"

// Colocated returns the program that holds all of these plugins, as they were built. fault.Unavailable says for which of
// them there is none, and why.
func (c *Catalog) Colocated(plugins ...Binary) (Binary, error) {
	unfit := func(format string, args ...any) error {
		return fault.New(fault.Unavailable, format, args...)
	}
	if c.Accept != nil {
		return Binary{}, unfit("a lock holds the digest of each plugin's own program, and none of one that serves several")
	}
	for _, b := range plugins {
		switch {
		case b.Interpreter != "" || strings.HasSuffix(b.Path, ".py"):
			return Binary{}, unfit("%s runs in an interpreter, which is a process of its own", b.Ref())
		case b.Dev:
			return Binary{}, unfit("%s stands in for %s and is a program of its own", b.Path, b.Ref())
		}
	}
	var why error
	for _, root := range c.Roots {
		path := filepath.Join(root, colocatedName)
		m, err := readColocated(path)
		if os.IsNotExist(err) {
			continue
		}
		if err == nil {
			if i := slices.IndexFunc(plugins, func(b Binary) bool { return m.Plugins[b.Ref()] != b.SHA256 }); i < 0 {
				return Binary{Name: colocatedName, Path: path, SHA256: m.SHA256}, nil
			} else if _, held := m.Plugins[plugins[i].Ref()]; held {
				err = unfit("%s was not built together with %s: build both with make build", plugins[i].Path, path)
			} else {
				err = unfit("%s holds no %s: it holds the plugins in Go of tandem's own folder", path, plugins[i].Ref())
			}
		}
		if why == nil {
			why = err
		}
	}
	if why == nil {
		why = unfit("there is no program that holds several plugins; make build makes it")
	}
	return Binary{}, why
}

// readColocated returns what the manifest of a program says. An error of the file passes, so that one that is not there can be
// told from others.
func readColocated(path string) (m wire.ColocatedManifest, err error) {
	if _, err = os.Stat(path + ".json"); err != nil {
		return m, err
	}
	text, err := files.Read(path+".json", maxDescriptor)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return m, fault.New(fault.Unavailable, "%w", err).WithFile(path+".json", 0, 0)
	}
	return m, nil
}
