package lock

import (
	"fmt"
	"strings"
	"sync"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
)

// Guard holds plugins against a lock as they are found: its Accept is for catalog.Catalog.Accept.
type Guard struct {
	File   *File
	Strict bool         // plugins that differ are refused; else they are told, once each
	Tell   func(string) // may be nil

	mu   sync.Mutex
	told map[string]bool
}

// Accept returns a fault.Conflict for a plugin that the lock does not have, if it is to be refused. What stands in for a
// plugin while somebody works on it is told elsewhere.
func (g *Guard) Accept(b catalog.Binary, d clip.Descriptor) error {
	p := PluginOf(b, d)
	state, locked := g.File.Check(Platform(), p)
	if state == Same {
		return nil
	}
	problem := g.describe(p, state, locked)
	if g.Strict {
		e := fault.New(fault.Conflict, "%s", problem).WithPlugin(p.Plugin)
		if state == Unknown {
			return e.WithHint("lock it, if results are to be made with it: runner plugin lock SPEC")
		}
		return e.WithHint("put back the plugin that is locked, or lock the new one: runner plugin lock SPEC")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	key := p.Plugin + p.SHA256
	if g.told == nil {
		g.told = map[string]bool{}
	}
	if !g.told[key] && !b.Dev && g.Tell != nil {
		g.Tell(fmt.Sprintf("%s: %s; --locked refuses it", p.Plugin, problem))
	}
	g.told[key] = true
	return nil
}

func (g *Guard) describe(p Plugin, state State, locked []Plugin) string {
	if state == Unknown {
		return fmt.Sprintf("%s has no %s for %s; it is %s, sha256 %s", g.File.Path, p.Plugin, Platform(), p.Version, p.SHA256)
	}
	had := make([]string, len(locked))
	for i, l := range locked {
		had[i] = fmt.Sprintf("%s, sha256 %s", l.Version, l.SHA256)
	}
	return fmt.Sprintf("it is %s, sha256 %s; %s has %s", p.Version, p.SHA256, g.File.Path, strings.Join(had, " or "))
}
