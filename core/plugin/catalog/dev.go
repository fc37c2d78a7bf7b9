package catalog

import (
	"path/filepath"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

// EnvDev names the variable that New's user may set Dev from: "losses/mine=/path/to/mine,encoders/vit=./vit".
const EnvDev = "RUNNER_PLUGIN_DEV"

// ParseDev reads assignments for Dev, each like "losses/mine=./path/to/mine". Relative paths become absolute.
func ParseDev(assignments []string) (map[string]string, error) {
	dev := map[string]string{}
	for _, text := range assignments {
		ref, path, ok := strings.Cut(text, "=")
		dir, name, named := strings.Cut(ref, "/")
		switch _, known := kindOfDir(dir); {
		case !ok || path == "":
			return nil, fault.New(fault.Invalid, "%q names no file that stands in for a plugin", text).
				WithHint("write losses/mine=./path/to/mine")
		case !named || !known || name == "" || strings.Contains(name, "/") || strings.HasPrefix(name, "."):
			return nil, fault.New(fault.Invalid, "%q is not the full name of a plugin", ref).
				WithHint("write losses/mine=./path/to/mine; kinds are encoders, losses and datasets")
		}
		abs, err := filepath.Abs(path)
		if err == nil {
			_, err = checkExecutable(abs)
		}
		if err != nil {
			return nil, fault.New(fault.KindOf(err), "%s: %w", ref, err)
		}
		if before, twice := dev[ref]; twice && before != abs {
			return nil, fault.New(fault.Invalid, "both %s and %s are to stand in for %s", before, abs, ref)
		}
		dev[ref] = abs
	}
	return dev, nil
}

// isDev reports whether a file stands in for the plugin that a spec names; a spec that gives a path means that path.
func (c *Catalog) isDev(kind clip.Kind, ref string) bool {
	return !isPath(ref) && c.Dev[kind.Dir()+"/"+filepath.Base(ref)] != ""
}
