// Package sample makes a clip.Dataset out of a list of samples and a function that opens the picture
// of one. It does what every dataset of pictures and captions needs: decoding on several workers, the
// training and evaluation transforms, the choice among captions, replacement of unreadable samples,
// target and digest bookkeeping, memory of decoded pictures.
//
// A dataset plugin writes one function:
//
//	func open(ctx context.Context, c clip.DatasetConfig) (*sample.Set, error)
//
// and serves sample.New(open).
package sample

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"path"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/files"
	"tandem/core/media/vision"
	edit "tandem/core/media/vision/augment"
	"tandem/core/random"
)

// Sample describes an image–text pair without its pixels.
type Sample struct {
	Key      string   // stable and unique in the set: "1f600/google"
	Group    int64    // samples of one group are positives of one another
	Captions []string // all of them, at least one; may be shared between samples
	Labels   []int32  // class id by position of Set.Targets, -1 for none; nil for none at all
	// Negatives holds texts that do not describe the picture, at least one where the set gives any.
	Negatives []string
}

// List gives samples one at a time, from whatever takes little memory. Its methods may be called from several goroutines,
// and each of its samples has a caption that is not blank, and a negative where the set gives any.
type List interface {
	Len() int
	// At returns sample i, which nobody changes.
	At(i int) Sample
}

// Set holds an opened dataset. Its fields do not change after it is handed over.
type Set struct {
	Samples []Sample
	// List takes the place of Samples in sets of so many samples that a slice of them takes too much memory; nil for
	// Samples.
	List    List
	Targets []clip.Target
	// Open decodes the picture of sample i. It is called from several goroutines. Any error makes
	// the sample unreadable. Unless Direct is set, nobody else holds the picture, since its memory may serve the next one.
	Open func(i int) (vision.Picture, error)
	// OpenContext, when set, is called instead of Open, which is not needed then. It ends with ctx: for pictures that may have
	// to be waited for.
	OpenContext func(ctx context.Context, i int) (vision.Picture, error)
	// Content tells what Open decodes for sample i, in a text that changes when the picture would: a digest of its file or
	// a stamp, and how it is decoded (Decoding). It is asked of pictures that are kept on disk; "" keeps none, and nil keeps
	// none of the set.
	Content func(i int) string
	// Direct says that Open is as cheap as memory, so that its pictures need not be kept.
	Direct bool
	// Drawn says that Open makes pictures in the size that is asked for, so that they have no size of their own.
	Drawn bool
	// Caption draws the caption of Samples[i] for training; nil takes one of its Captions.
	Caption func(i int, s *random.Stream) string
	// Negatives is how many negatives each sample has in a batch; 0: none. A dataset that sets it declares
	// clip.CapNegatives.
	Negatives int
	// Negative draws that many texts that do not describe Samples[i]; nil takes them of its Negatives.
	Negative func(i int, s *random.Stream) []string
	// Alter changes size × size pixels of RGB in place, in training only, after the crop; nil does
	// nothing.
	Alter func(pix []byte, size int, s *random.Stream)
	// Texts lists further texts that Caption and Negative may draw, for the training of a tokenizer.
	Texts []string
	// Fail makes an unreadable sample an error instead of replacing it.
	Fail   bool
	Pixels string // digest of where the pixels come from
	// Digest is a digest of all that batches are made of; "" has it made of samples, targets and Pixels.
	Digest  string
	Skipped int      // records refused while opening beside those that Skip counts, whose reasons nobody knows
	Note    string   // one line for a person: source, licence
	Remarks []string // what a person should know of the data, a sentence each
	// Shards holds the numbers of samples that lie together and are read together (clip.DatasetInfo.Shards).
	Shards []int
	// Close frees what Open reads from, when the dataset is closed; nil for nothing.
	Close func()
	// File returns the picture file of sample i, "" where there is none; nil when pictures are no files. A sample
	// whose file cannot be opened when the set is handed over counts as refused.
	File   func(i int) string
	held   *files.Contents // of the files
	heldAt func(i int) int // which of them is the file of sample i
	skips  []clip.Skip     // of Skip
}

// Len returns the number of samples.
func (s *Set) Len() int {
	if s.List != nil {
		return s.List.Len()
	}
	return len(s.Samples)
}

// At returns sample i. Its lists are not to be changed.
func (s *Set) At(i int) Sample {
	if s.List != nil {
		return s.List.At(i)
	}
	return s.Samples[i]
}

// info describes the set under a training transform.
func (s *Set) info(a *clip.Augment) clip.DatasetInfo {
	return clip.DatasetInfo{Len: s.Len(), Targets: s.Targets, Digest: s.digest(), Skipped: s.refused(), Note: s.Note,
		Shards: s.Shards, Skips: s.Skips(),
		Remarks: append(slices.Clone(s.Remarks), s.jpegRemark(vision.JPEGIsExact())...), Fixed: cropParams(a) == nil && edits(a) == edit.Config{} && s.Alter == nil, Negatives: s.Negatives}
}

// jpegRemark returns a remark when JPEG files are decoded to other pixels than OpenCLIP's.
func (s *Set) jpegRemark(exact bool) []string {
	if exact {
		return nil
	}
	n := 0
	for i := range s.Len() {
		if ext := strings.ToLower(path.Ext(s.At(i).Key)); ext == ".jpg" || ext == ".jpeg" {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d pictures are JPEG, which this build decodes without libjpeg-turbo: pixels differ from OpenCLIP's by a few levels (make deps, then make)", n)}
}

// digest covers everything that a batch is made of. It includes the lengths, so that no two lists run together.
func (s *Set) digest() string {
	if s.Digest != "" {
		return s.Digest
	}
	h := sha256.New()
	number := func(n int64) { binary.Write(h, binary.LittleEndian, n) }
	text := func(t string) { number(int64(len(t))); h.Write([]byte(t)) }
	list := func(l []string) {
		number(int64(len(l)))
		for _, t := range l {
			text(t)
		}
	}
	text(s.Pixels)
	number(int64(len(s.Targets)))
	for _, t := range s.Targets {
		text(t.Name)
		list(t.Classes)
	}
	list(s.Texts)
	if s.Negatives > 0 { // sets without any keep their digest
		number(int64(s.Negatives))
	}
	captions := map[*string]string{} // shared lists are hashed once
	for i := range s.Len() {
		x := s.At(i)
		text(x.Key)
		number(x.Group)
		if s.List != nil { // whose lists are made anew for each sample
			clear(captions)
		}
		text(memo(captions, x.Captions))
		for _, l := range x.Labels {
			number(int64(l))
		}
		if s.Negatives > 0 {
			list(x.Negatives)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func memo(known map[*string]string, captions []string) string {
	if len(captions) == 0 {
		return ""
	}
	sum, ok := known[&captions[0]]
	if !ok {
		h := sha256.New()
		for _, c := range captions {
			frame(h, c)
		}
		sum = string(h.Sum(nil))
		known[&captions[0]] = sum
	}
	return sum
}

func frame(h hash.Hash, text string) {
	binary.Write(h, binary.LittleEndian, int64(len(text)))
	h.Write([]byte(text))
}

// captions returns the distinct captions of the set in the order of its samples, each with its negatives behind it,
// then Texts. limit bounds their number; 0 means all.
func (s *Set) captions(limit int) []string {
	seen := map[string]bool{}
	lists := map[*string]bool{}
	var out []string
	add := func(list []string) bool {
		for _, c := range list {
			if seen[c] {
				continue
			}
			if limit > 0 && len(out) == limit {
				return false
			}
			seen[c] = true
			out = append(out, c)
		}
		return true
	}
	for i := range s.Len() {
		x := s.At(i)
		if len(x.Captions) > 0 && !lists[&x.Captions[0]] {
			if s.List == nil { // whose lists are made anew for each sample
				lists[&x.Captions[0]] = true
			}
			if !add(x.Captions) {
				return out
			}
		}
		if s.Negatives > 0 && !add(x.Negatives) {
			return out
		}
	}
	add(s.Texts)
	return out
}
