package flips

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/web"
)

// pictureSide is the width and height of pictures, twice what the page shows for screens with small pixels.
const pictureSide = 192

// mostBytes limits the pictures that the server keeps.
const mostBytes = 32 << 20

// source names the data that pictures are of.
type source struct {
	run, evaluation, target string
}

// address is where the picture of an example is. It is always the same picture: its run, its place and its key are in the address.
func (s source) address(experiment string, index int, key string) string {
	v := url.Values{"run": {s.run}, "evaluation": {s.evaluation}, "target": {s.target}, "index": {strconv.Itoa(index)}, "key": {key}}
	return web.ExperimentPath(experiment, "flips/picture") + "?" + v.Encode()
}

// picture is an encoded picture; without data it is one that the dataset does not have any more.
type picture struct {
	kind string
	data []byte
}

// size is about what keeping it takes.
func (p picture) size(address string) int { return len(p.data) + 2*len(address) + 100 }

// shelf keeps pictures by their address, and the names of classes by their source.
type shelf struct {
	mu       sync.Mutex
	pictures map[string]picture
	order    []string // of pictures, the oldest first
	bytes    int
	classes  map[source][]string
}

func newShelf() *shelf {
	return &shelf{pictures: map[string]picture{}, classes: map[source][]string{}}
}

func (s *shelf) picture(address string) (picture, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, has := s.pictures[address]
	return p, has
}

func (s *shelf) names(of source) (names []string, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, known = s.classes[of]
	return names, known
}

func (s *shelf) put(of source, names []string, pictures map[string]picture) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.classes) >= 64 { // names of few are asked for at a time
		clear(s.classes)
	}
	s.classes[of] = names
	for address, p := range pictures {
		if _, has := s.pictures[address]; has {
			continue
		}
		s.pictures[address] = p
		s.order = append(s.order, address)
		s.bytes += p.size(address)
	}
	for s.bytes > mostBytes && len(s.order) > 1 {
		s.bytes -= s.pictures[s.order[0]].size(s.order[0])
		delete(s.pictures, s.order[0])
		s.order = s.order[1:]
	}
}

// encode writes a picture as a PNG, or as a JPEG where that is a good deal smaller: photographs.
func encode(m image.Image) (picture, error) {
	var drawn, photo bytes.Buffer
	if err := errors.Join(png.Encode(&drawn, m), jpeg.Encode(&photo, m, &jpeg.Options{Quality: 85})); err != nil {
		return picture{}, fault.New(fault.Internal, "picture: %w", err)
	}
	if 2*photo.Len() < drawn.Len() {
		return picture{"image/jpeg", photo.Bytes()}, nil
	}
	return picture{"image/png", drawn.Bytes()}, nil
}

// fetch makes sure that the pictures of examples and the names of classes are on the shelf, as far as the data has them. Data is opened only
// where something is not there yet.
func (p *pages) fetch(ctx context.Context, experiment string, of source, indices []int, keys []string) error {
	_, known := p.shelf.names(of)
	var ask []int
	var asked []string
	for i, index := range indices {
		if _, has := p.shelf.picture(of.address(experiment, index, keys[i])); !has {
			ask, asked = append(ask, index), append(asked, keys[i])
		}
	}
	if known && len(ask) == 0 {
		return nil
	}
	if p.site.Albums == nil {
		return fault.New(fault.Unavailable, "this server opens no data")
	}
	run, err := p.site.Reader().Get(ctx, of.run)
	if err != nil {
		return err
	}
	evaluation, _, _ := strings.Cut(of.evaluation, "/") // behind it stands what was measured: emoji/knn
	album, err := p.site.Albums(ctx, run, metric.Live(evaluation), of.target, pictureSide, ask, asked)
	if err != nil {
		return err
	}
	pictures := map[string]picture{}
	for i, m := range album.Pictures {
		var encoded picture
		if m != nil {
			if encoded, err = encode(m); err != nil {
				return err
			}
		}
		pictures[of.address(experiment, ask[i], asked[i])] = encoded
	}
	p.shelf.put(of, slices.Clone(album.Classes), pictures)
	return nil
}

// give answers for a picture.
func (p *pages) give(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	index, err := strconv.Atoi(v.Get("index"))
	if err != nil || index < 0 {
		return fault.New(fault.Invalid, "index: %q is no example", v.Get("index"))
	}
	of, name, key := source{v.Get("run"), v.Get("evaluation"), v.Get("target")}, r.PathValue("experiment"), v.Get("key")
	address := of.address(name, index, key)
	shown, has := p.shelf.picture(address)
	if !has {
		if err := p.fetch(r.Context(), name, of, []int{index}, []string{key}); err != nil {
			return err
		}
		shown, _ = p.shelf.picture(address)
	}
	if shown.data == nil {
		return fault.New(fault.NotFound, "the dataset has another example at %d now", index)
	}
	w.Header().Set("Content-Type", shown.kind)
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	_, _ = w.Write(shown.data) // the client may be gone
	return nil
}

// reason writes an error in a line.
func reason(err error) string {
	text, hint := err.Error(), ""
	if e := new(fault.Error); errors.As(err, &e) {
		text = e.Msg
		if e.Hint != "" {
			hint = "; " + e.Hint
		}
	}
	return fmt.Sprint(strings.Join(strings.Fields(text+hint), " "))
}
