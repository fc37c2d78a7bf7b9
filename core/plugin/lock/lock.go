// Package lock keeps runner.lock: which plugins results are made with, by version, protocol and a digest for each
// platform, and whether a plugin is one of them. It starts no process.
package lock

import (
	"cmp"
	"maps"
	"runtime"
	"slices"

	"tandem/core/clip"
	"tandem/core/plugin/catalog"
)

// Name names the file beside the specs that it is for.
const Name = "runner.lock"

// Entry holds a version of a plugin.
type Entry struct {
	Plugin   string // encoders/vit
	Version  string
	Protocol int
	// Digests lists hex sha256 by platform. There are several where files of one version differ, as two specs may name them.
	Digests map[string][]string
}

// File holds the entries of a runner.lock, sorted by plugin and version.
type File struct {
	Path    string
	Entries []Entry
}

// Plugin describes a plugin as it is now.
type Plugin struct {
	Plugin   string
	Version  string
	Protocol int
	SHA256   string
}

// PluginOf describes what a catalog found.
func PluginOf(b catalog.Binary, d clip.Descriptor) Plugin {
	return Plugin{Plugin: b.Ref(), Version: d.Version, Protocol: d.Protocol, SHA256: b.SHA256}
}

// Platform names that of this machine: linux/amd64.
func Platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// Lock makes plugins the ones that f has for a platform. Entries of other plugins and of other platforms stay.
func (f *File) Lock(platform string, plugins []Plugin) {
	for i := range f.Entries {
		if e := &f.Entries[i]; slices.ContainsFunc(plugins, func(p Plugin) bool { return p.Plugin == e.Plugin }) {
			delete(e.Digests, platform)
		}
	}
	for _, p := range plugins {
		i := slices.IndexFunc(f.Entries, func(e Entry) bool {
			return e.Plugin == p.Plugin && e.Version == p.Version && e.Protocol == p.Protocol
		})
		if i < 0 {
			i = len(f.Entries)
			f.Entries = append(f.Entries, Entry{p.Plugin, p.Version, p.Protocol, map[string][]string{}})
		}
		all := f.Entries[i].Digests
		if !slices.Contains(all[platform], p.SHA256) {
			all[platform] = slices.Sorted(slices.Values(append(all[platform], p.SHA256)))
		}
	}
	f.Entries = slices.DeleteFunc(f.Entries, func(e Entry) bool { return len(e.Digests) == 0 })
	f.sort()
}

func (f *File) sort() {
	slices.SortFunc(f.Entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Plugin, b.Plugin), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Protocol, b.Protocol))
	})
}

// State says how a plugin stands to a lock.
type State string

// The states of a plugin.
const (
	Same    State = "same"
	Changed State = "changed" // the lock has others of its name for this platform
	Missing State = "missing" // the lock has it and it is not found
	Unknown State = "not locked"
)

// Of returns what f has of a plugin for a platform: digests by version.
func (f *File) Of(platform, plugin string) []Plugin {
	var all []Plugin
	for _, e := range f.Entries {
		if e.Plugin == plugin {
			for _, sha := range e.Digests[platform] {
				all = append(all, Plugin{e.Plugin, e.Version, e.Protocol, sha})
			}
		}
	}
	return all
}

// Check says how a plugin stands to f, and what f has of its name.
func (f *File) Check(platform string, p Plugin) (State, []Plugin) {
	locked := f.Of(platform, p.Plugin)
	switch {
	case len(locked) == 0:
		return Unknown, nil
	case slices.ContainsFunc(locked, func(l Plugin) bool { return l.SHA256 == p.SHA256 }):
		return Same, locked
	}
	return Changed, locked
}

// Plugins returns the names of all plugins that f has for a platform, sorted.
func (f *File) Plugins(platform string) []string {
	names := map[string]bool{}
	for _, e := range f.Entries {
		if len(e.Digests[platform]) > 0 {
			names[e.Plugin] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
