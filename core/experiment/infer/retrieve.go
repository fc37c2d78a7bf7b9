package infer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/feature"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/media/vision"
)

// Search says what to look for in which pictures.
type Search struct {
	Run      string   // its newest checkpoint searches
	Pool     []string // picture files that are searched
	Remarks  []string // what Pictures said of them
	Texts    []string // queries
	Pictures []string // queries: picture files
	Top      int      // hits of each query, at least 1
	// Averaged and SkipUnreadable are as in Embedding.
	Averaged, SkipUnreadable bool
	// KeepIn is a folder where features of pictures are kept, by the contents of their files; "": nowhere.
	KeepIn string
}

// Hit is a picture that was found.
type Hit struct {
	Image  string  `json:"image"`
	Cosine float64 `json:"cosine"`
}

// Retrieved holds the hits of a query, the nearest first.
type Retrieved struct {
	Query   string `json:"query"` // a text, or the file of a picture
	Picture bool   `json:"picture"`
	Hits    []Hit  `json:"hits"`
}

// Found is what Retrieve found.
type Found struct {
	Queries []Retrieved `json:"queries"`
	Images  int         `json:"images"`   // pictures that were searched
	LeftOut int         `json:"left_out"` // pictures that cannot be read
	Known   int         `json:"known"`    // contents whose features were kept from before
}

// Retrieve ranks pictures by their cosine with each query, a text or another picture. Pictures of the same cosine are in the order of
// their names. Files that have the same content have the same feature, which is computed once. w is told of texts that are
// cut.
func Retrieve(ctx context.Context, l lab.Lab, s Search, w assemble.Watcher) (found Found, err error) {
	for _, r := range s.Remarks {
		w.Event("warning", r)
	}
	w.Doing("loading the model")
	defer w.Doing("")
	_, checkpoint, err := l.Trained(ctx, s.Run)
	if err != nil {
		return found, err
	}
	m, _, err := restore(ctx, l, s.Run, s.Averaged)
	if err != nil {
		return found, err
	}
	defer m.Close()
	if _, err := countTexts(ctx, m, s.Texts, w); err != nil {
		return found, err
	}
	k, err := openPool(m, s, checkpoint.Dir, w)
	if err != nil {
		return found, err
	}
	defer k.close()
	pool, names, err := k.features(ctx, s.Pool)
	if err != nil {
		return found, err
	}
	found.Known = k.known
	found.Images, found.LeftOut = len(names), len(s.Pool)-len(names)
	if len(names) == 0 {
		return found, fault.New(fault.Invalid, "none of the %d pictures can be read", len(s.Pool))
	}
	var queries []float32
	for part := range slices.Chunk(s.Texts, embedBatch) {
		if queries, err = embed(ctx, m.Text, clip.ForwardRequest{Texts: part, Mode: clip.Eval}, queries); err != nil {
			return found, err
		}
	}
	k.strict = true
	for _, file := range s.Pictures {
		one, _, err := k.features(ctx, []string{file})
		if err != nil {
			return found, err
		}
		queries = append(queries, one...)
	}
	dim := m.Spec.EmbedDim
	for i, name := range slices.Concat(s.Texts, s.Pictures) {
		found.Queries = append(found.Queries, Retrieved{Query: name, Picture: i >= len(s.Texts), Hits: nearest(queries[i*dim:(i+1)*dim], pool, names, s.Top)})
	}
	return found, nil
}

// nearest returns the top rows of pool, [len(names), len(query)], by their cosine with query; all are unit vectors.
func nearest(query, pool []float32, names []string, top int) []Hit {
	hits := make([]Hit, len(names))
	for i, name := range names {
		hits[i].Image = name
		for j, v := range pool[i*len(query) : (i+1)*len(query)] {
			hits[i].Cosine += float64(v) * float64(query[j])
		}
	}
	slices.SortFunc(hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Image, b.Image))
	})
	return hits[:min(top, len(hits))]
}

// pool embeds pictures and keeps their features.
type pool struct {
	m      *assemble.Model
	w      assemble.Watcher
	kept   *feature.Store // nil: nothing is kept
	skip   bool           // pictures that cannot be read are left out
	strict bool           // they are not, whatever skip says
	known  int
}

// poolKey names all that a feature depends on beside the picture's bytes.
type poolKey struct {
	Encoder    string          `json:"encoder"`
	SHA256     string          `json:"encoder_sha256"`
	With       json.RawMessage `json:"with"`
	Parameters string          `json:"parameters_sha256"`
	Averaged   bool            `json:"averaged"`
	EmbedDim   int             `json:"embed_dim"`
	Backend    string          `json:"backend"`
	JPEG       string          `json:"jpeg_decoder"`
}

// openPool opens what is kept of the run's image tower. A folder that cannot be used is told, and nothing is kept then.
func openPool(m *assemble.Model, s Search, checkpoint string, w assemble.Watcher) (*pool, error) {
	k := &pool{m: m, w: w, skip: s.SkipUnreadable}
	if s.KeepIn == "" {
		return k, nil
	}
	sha, err := files.Digest(filepath.Join(checkpoint, train.ImageFile))
	if err != nil {
		return nil, err
	}
	info, binary := m.Summary.Image, m.Processes[assemble.RoleImage].Binary
	kept, err := feature.Open(s.KeepIn, poolKey{Encoder: binary.Ref(), SHA256: binary.SHA256, With: m.Spec.Image.With, Parameters: sha, Averaged: s.Averaged,
		EmbedDim: m.Spec.EmbedDim, Backend: info.Backend, JPEG: vision.JPEGDecoder()}, m.Spec.EmbedDim, func(message string) { w.Event("warning", message) })
	if err != nil {
		w.Event("warning", fmt.Sprintf("features of the pictures are not kept: %v", err))
		return k, nil
	}
	k.kept = kept
	return k, nil
}

func (k *pool) close() {
	if k.kept != nil {
		k.kept.Close()
	}
}

// features returns the features of the picture files that can be read, and which these are, in the order of list. A file is
// known by the sha256 of its bytes.
func (k *pool) features(ctx context.Context, list []string) (rows []float32, names []string, err error) {
	dim := k.m.Spec.EmbedDim
	found := map[string][]float32{} // by content
	content := make([]string, len(list))
	var missing []string
	var of []string // contents of the missing ones
	for i, file := range list {
		if err := ctx.Err(); err != nil {
			return nil, nil, fault.New(fault.Canceled, "%w", err)
		}
		data, err := files.Read(file, vision.MaxFileBytes)
		if err != nil && !k.skip {
			return nil, nil, err
		}
		sum := sha256.Sum256(data)
		content[i] = hex.EncodeToString(sum[:])
		if err != nil {
			content[i] = "unreadable " + file // embedImages tells why
		}
		if _, here := found[content[i]]; here {
			continue
		}
		row := make([]float32, dim)
		if k.kept != nil && k.kept.Get(content[i], row) {
			k.known++
			found[content[i]] = row
			continue
		}
		found[content[i]] = nil
		missing, of = append(missing, file), append(of, content[i])
	}
	made, files, _, err := embedImages(ctx, k.m, Embedding{Images: missing, SkipUnreadable: k.skip && !k.strict}, clip.Eval, k.w)
	if err != nil {
		return nil, nil, err
	}
	at := 0
	for i, file := range missing {
		if at < len(files) && files[at] == file {
			row := made[at*dim : (at+1)*dim]
			found[of[i]] = row
			if k.kept != nil {
				k.kept.Put(of[i], row)
			}
			at++
		}
	}
	for i, file := range list {
		if row := found[content[i]]; row != nil {
			rows, names = append(rows, row...), append(names, file)
		}
	}
	return rows, names, nil
}
