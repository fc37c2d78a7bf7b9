package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"

	"tandem/core/results/page"
)

// statics maps the names of files that pages load to their content.
var statics = func() map[string][]byte {
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
	return files
}()

// AddStatic adds files that pages load. It is for variables of packages, which are set before the program begins. A name that is taken and
// a file that is not there are faults of the program, so AddStatic panics.
func AddStatic(from fs.FS, names ...string) struct{} {
	for _, name := range names {
		if _, taken := statics[name]; taken {
			panic("web: there are two files " + name)
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			panic("web: " + err.Error())
		}
		statics[name] = data
	}
	return struct{}{}
}

// staticVersion is a digest of all files that pages load. Their addresses contain it, so browsers keep them.
var staticVersion = sync.OnceValue(func() string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(statics)) {
		fmt.Fprintf(sum, "%s %d\n", name, len(statics[name]))
		sum.Write(statics[name])
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
})

// staticPath returns the address of a file that pages load. It panics for one that is not there.
func staticPath(name string) string {
	if _, known := statics[name]; !known {
		panic("web: there is no file " + name)
	}
	return "/static/" + staticVersion() + "/" + name
}

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
