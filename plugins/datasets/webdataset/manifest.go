package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/data/object"
	"tandem/core/files"
)

// maxManifest bounds a manifest's bytes.
const maxManifest = 64 << 20

// manifest describes shards that `runner data build` wrote.
type manifest struct {
	Format string `json:"format"`
	Digest string `json:"digest"`
	Shards []struct {
		Name string `json:"name"`
	} `json:"shards"`
}

// madeBesides reports whether a file beside shards is one that `runner data build` makes.
func madeBesides(name string) bool {
	base := filepath.Base(name)
	return files.Hidden(base) || base == "manifest.json" || base == "report.html"
}

// manifests says which of the shards were built by tandem, and what of those builds is not there.
func manifests(shards []string) (notes, remarks []string) {
	folders := map[string][]string{}
	var order []string
	for _, s := range shards {
		if object.IsAddress(s) {
			continue
		}
		dir := filepath.Dir(s)
		if folders[dir] == nil {
			order = append(order, dir)
		}
		folders[dir] = append(folders[dir], filepath.Base(s))
	}
	for _, dir := range order {
		data, err := files.Read(filepath.Join(dir, "manifest.json"), maxManifest)
		var m manifest
		if err != nil || json.Unmarshal(data, &m) != nil || !strings.HasPrefix(m.Format, "tandem shards") {
			continue
		}
		notes = append(notes, fmt.Sprintf("manifest %s", m.Digest))
		missing := 0
		for _, s := range m.Shards {
			if !slices.Contains(folders[dir], s.Name) {
				missing++
			}
		}
		if missing > 0 {
			remarks = append(remarks, fmt.Sprintf("%s has %d shards by its manifest, of which %d are read", dir, len(m.Shards), len(m.Shards)-missing))
		}
	}
	return notes, remarks
}
