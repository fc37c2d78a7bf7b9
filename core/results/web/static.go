package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"path"
	"slices"
	"time"

	"tandem/core/results/page"
)

// statics maps the names of files that pages load to their content. Their addresses contain a digest of all, so browsers keep them.
var statics, staticVersion = func() (map[string][]byte, string) {
	files := map[string][]byte{}
	for _, name := range []string{"site.css", "site.js", "idiomorph.min.js", "uPlot.iife.min.js", "uPlot.min.css"} {
		data, err := assets.ReadFile("assets/" + name)
		if err != nil {
			panic("web: " + err.Error()) // embedded
		}
		files[name] = data
	}
	for name, text := range page.Assets() {
		files[name] = []byte(text)
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum.Write(files[name])
	}
	return files, hex.EncodeToString(sum.Sum(nil))[:12]
}()

// AddStatic adds a file that a page loads; for variables of packages, before the program begins.
func AddStatic(name string, data []byte) string {
	statics[name] = data
	return name
}

// staticPath returns the address of a file that pages load.
func staticPath(name string) string { return "/static/" + staticVersion + "/" + name }

func serveStatic(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.PathValue("name"))
	data, ok := statics[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}
