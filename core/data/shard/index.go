package shard

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tandem/core/data/object"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/files/leftover"
)

// Index has what is known of a shard: a record of each sample that has a picture, in the order of the shard.
type Index struct {
	about
	name     string   // what the shard is opened by
	pictures []string // endings
	sources  int
	records  string        // see add
	places   []uint32      // where each record begins
	body     []byte        // records, while they are added
	copied   *os.File      // the unpacked copy, where there is no folder for it
	far      object.Object // the opened shard, where it is on another machine: that costs nothing to keep
}

// about is what the first line of the file of an index says.
type about struct {
	Shard   string `json:"shard"` // its name, for people
	Size    int64  `json:"size"`
	Version string `json:"version"` // object.Object.Version
	Wanted  string `json:"wanted"`  // digest of Wanted
	// Sum is the hex sha256 of the shard; "" when it was not read as a whole.
	Sum string `json:"sum,omitempty"`
	// Packed names the compression of the shard, "" for none, and Unpacked is the length of what it holds.
	Packed   string   `json:"packed,omitempty"`
	Unpacked int64    `json:"unpacked,omitempty"`
	Records  int      `json:"records"`
	Flaws    []Flaw   `json:"flaws,omitempty"`
	Notes    []string `json:"notes,omitempty"` // what a person should know of the shard, sentences without a subject
}

// display returns the name of a shard for people: of an address without its query, which may be a signature.
func display(name string) string {
	if at := strings.IndexByte(name, '?'); at >= 0 && object.IsAddress(name) {
		return name[:at] + "?…"
	}
	return name
}

// Len returns the number of records.
func (x *Index) Len() int { return len(x.places) }

// flaw counts what cannot be used.
func (x *Index) flaw(reason, member, message string) {
	for i := range x.Flaws {
		if x.Flaws[i].Reason == reason {
			x.Flaws[i].Count++
			return
		}
	}
	x.Flaws = append(x.Flaws, Flaw{Reason: reason, Count: 1, Member: strings.ToValidUTF8(member, "\ufffd"), Message: message})
}

// add adds a record: numbers are varints, texts have their length before them,
//
//	key, number of the picture's ending, offset, size, then for each source the number of its texts, and these.
func (x *Index) add(r Record, ending int) {
	x.places = append(x.places, uint32(len(x.body)))
	text := func(t string) {
		x.body = binary.AppendUvarint(x.body, uint64(len(t)))
		x.body = append(x.body, t...)
	}
	text(r.Key)
	for _, n := range []int64{int64(ending), r.Offset, r.Size} {
		x.body = binary.AppendUvarint(x.body, uint64(n))
	}
	for _, texts := range r.Texts {
		x.body = binary.AppendUvarint(x.body, uint64(len(texts)))
		for _, t := range texts {
			text(t)
		}
	}
}

// seal ends the adding of records.
func (x *Index) seal(w *Wanted) {
	x.records, x.body = string(x.body), nil
	x.pictures, x.sources, x.Records = w.Pictures, len(w.Texts), len(x.places)
}

// scanner reads records.
type scanner struct {
	text string
	bad  bool
}

func (s *scanner) number() int64 {
	var n uint64
	for shift := 0; shift < 64; shift += 7 {
		if s.text == "" {
			break
		}
		b := s.text[0]
		s.text = s.text[1:]
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int64(n)
		}
	}
	s.bad = true
	return 0
}

func (s *scanner) string() string {
	n := s.number()
	if n < 0 || n > int64(len(s.text)) {
		s.bad = true
		return ""
	}
	t := s.text[:n]
	s.text = s.text[n:]
	return t
}

// record reads the next record. Texts stay out of it when they are not wanted.
func (x *Index) record(s *scanner, texts bool) (r Record) {
	r.Key = s.string()
	ending := s.number()
	r.Offset, r.Size = s.number(), s.number()
	if s.bad || ending < 0 || ending >= int64(len(x.pictures)) || r.Offset < 0 || r.Size < 0 {
		s.bad = true
		return r
	}
	r.Ending = x.pictures[ending]
	if texts {
		r.Texts = make([][]string, x.sources)
	}
	for i := range x.sources {
		n := s.number()
		if n < 0 || n > int64(len(s.text)) {
			s.bad = true
			return r
		}
		for range n {
			t := s.string()
			if texts {
				r.Texts[i] = append(r.Texts[i], t)
			}
		}
	}
	return r
}

// At returns record i.
func (x *Index) At(i int) Record { return x.record(&scanner{text: x.records[x.places[i]:]}, true) }

// Place returns the key of record i, and the ending of its picture and where that lies.
func (x *Index) Place(i int) (key, ending string, offset, size int64) {
	s := scanner{text: x.records[x.places[i]:]}
	key, ending = s.string(), x.pictures[s.number()]
	return key, ending, s.number(), s.number()
}

// mark begins the file of an index; its number grows when records or flaws would become others. Then come a line of JSON (about), the records, and the sha256 of all that.
const mark = "tandem shard index 2\n"

// maxIndex limits the bytes of the file of an index.
const maxIndex = 2 << 30

// fileOf returns the path of a shard's index in a folder. ending tells apart what else is kept of it there.
func fileOf(folder, shard, of, ending string) string {
	if !object.IsAddress(shard) {
		if whole, err := filepath.Abs(shard); err == nil {
			shard = whole
		}
	}
	sum := sha256.Sum256([]byte(shard + "\x00" + of))
	last := shard[strings.LastIndexByte(shard, '/')+1:]
	if object.IsAddress(shard) {
		whole, _, _ := strings.Cut(shard, "?")
		last = whole[strings.LastIndexByte(whole, '/')+1:]
	}
	base := strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && !strings.ContainsRune(`/\:*?"<>|%`, r) {
			return r
		}
		return '_'
	}, last)
	const longest = 80
	return filepath.Join(folder, base[:min(len(base), longest)]+"-"+hex.EncodeToString(sum[:8])+ending)
}

// digest returns what tells Wanted apart from others.
func (w *Wanted) digest() string {
	text, _ := json.Marshal(w) // of strings alone
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// write writes the index to a file, whole or not at all.
func (x *Index) write(path string) error {
	head, err := json.Marshal(x.about)
	if err != nil {
		return err
	}
	_, err = leftover.Replace(path, func(f *os.File) error {
		h := sha256.New()
		for _, part := range [][]byte{[]byte(mark), append(head, '\n'), []byte(x.records)} {
			h.Write(part)
			if _, err := f.Write(part); err != nil {
				return err
			}
		}
		_, err := f.Write(h.Sum(nil))
		return err
	})
	return err
}

// readIndex reads the file of an index. A file that is not one, or is broken, yields fault.Corrupt.
func readIndex(path string, w *Wanted) (*Index, error) {
	data, err := files.Read(path, maxIndex)
	if err != nil {
		return nil, err
	}
	broken := func(what string) error { return fault.New(fault.Corrupt, "%s", what).WithFile(path, 0, 0) }
	if len(data) < len(mark)+sha256.Size || !bytes.HasPrefix(data, []byte(mark)) {
		return nil, broken("no index of a shard")
	}
	body, check := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], check) {
		return nil, broken("a broken index: its checksum is wrong")
	}
	line, records, _ := bytes.Cut(body[len(mark):], []byte("\n"))
	x := &Index{pictures: w.Pictures, sources: len(w.Texts)}
	if err := json.Unmarshal(line, &x.about); err != nil {
		return nil, broken(fmt.Sprintf("a broken index: %v", err))
	}
	if x.Wanted != w.digest() {
		return nil, broken("an index for other settings")
	}
	x.records = string(records)
	s := &scanner{text: x.records}
	for s.text != "" && !s.bad {
		x.places = append(x.places, uint32(len(x.records)-len(s.text)))
		x.record(s, false)
	}
	if s.bad || x.Records != len(x.places) {
		return nil, broken("a broken index: its records are")
	}
	return x, nil
}
