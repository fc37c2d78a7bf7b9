package shard

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"tandem/core/files"
)

// maxMembers limits the members of one sample.
const maxMembers = 1000

// split cuts the name of a member into the key of its sample and its ending, as webdataset does: the key goes up to the first
// dot of the file name, its folders included.
func split(name string) (key, ending string, ok bool) {
	file := strings.LastIndexByte(name, '/') + 1
	dot := strings.IndexByte(name[file:], '.')
	if dot < 1 {
		return "", "", false
	}
	return name[:file+dot], strings.ToLower(name[file+dot+1:]), true
}

// isMeta reports whether webdataset takes a member for its own use: its first folder or its name is between two underscores.
func isMeta(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return len(first) >= 4 && strings.HasPrefix(first, "__") && strings.HasSuffix(first, "__")
}

// isHidden reports whether a member is one of those that operating systems and people hide.
func isHidden(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part != "." && part != ".." && files.Hidden(part) {
			return true
		}
	}
	return false
}

// gatherer makes records of members that come in the order of the shard.
type gatherer struct {
	want    *Wanted
	read    func(m member) ([]byte, error) // what a member contains, until the next call
	index   *Index
	wanted  map[string]bool // endings of members with texts
	pass    Tally           // members that are no files
	open    bool            // there is a sample to finish
	key     string
	endings []string
	known   map[string]bool // the endings, of samples with many
	rank    int             // of the picture, in Wanted.Pictures; -1 for none
	picture member
	texts   map[string]text // members with texts, by their endings
	flaw    *Flaw           // why the sample is refused
}

// text is what a member with texts contains.
type text struct {
	name string
	data []byte
}

// Tally counts things of which the first is named.
type Tally struct {
	N     int
	First string
}

// Add counts a thing.
func (t *Tally) Add(what string) {
	if t.N++; t.N == 1 {
		t.First = what
	}
}

func newGatherer(want *Wanted, index *Index, read func(m member) ([]byte, error)) *gatherer {
	g := &gatherer{want: want, index: index, read: read, wanted: map[string]bool{}, texts: map[string]text{}}
	for _, sources := range want.Texts {
		for _, s := range sources {
			g.wanted[s.Member] = true
		}
	}
	return g
}

// add takes the next member.
func (g *gatherer) add(m member) error {
	switch {
	case m.kind == sparse:
	case m.kind == "a folder" || m.kind == "a header for all" || isMeta(m.name):
		return nil
	case m.kind != "":
		g.pass.Add(m.name + " is " + m.kind)
		return nil
	}
	if isHidden(m.name) {
		return nil
	}
	key, ending, ok := split(m.name)
	if !ok {
		return nil // webdataset passes over names without a dot
	}
	if !g.open || key != g.key {
		g.finish()
		g.begin(key)
	}
	switch {
	case g.has(ending):
		g.index.flaw(reasonDuplicate, m.name, "is there twice: the first one is used")
		return nil
	case len(g.endings) == maxMembers:
		g.refuse(reasonRecord, m.name, fmt.Sprintf("more than %d members have this key", maxMembers))
		return nil
	}
	g.note(ending)
	rank := slices.Index(g.want.Pictures, ending)
	isText := g.wanted[ending]
	if m.kind == sparse && (rank >= 0 || isText) {
		g.refuse(reasonRecord, m.name, "sparse files are not read")
		return nil
	}
	if rank >= 0 && (g.rank < 0 || rank < g.rank) {
		g.rank, g.picture = rank, m
	}
	switch {
	case !isText:
	case m.size > maxText:
		g.refuse(reasonRecord, m.name, fmt.Sprintf("a text of %d bytes; at most %d are read", m.size, maxText))
	default:
		data, err := g.read(m)
		if err != nil {
			return err
		}
		g.texts[ending] = text{m.name, append(g.texts[ending].data[:0], data...)}
	}
	return nil
}

func (g *gatherer) begin(key string) {
	g.open, g.key, g.endings, g.known, g.rank, g.flaw = true, key, g.endings[:0], nil, -1, nil
	clear(g.texts)
}

func (g *gatherer) has(ending string) bool {
	if g.known != nil {
		return g.known[ending]
	}
	return slices.Contains(g.endings, ending)
}

func (g *gatherer) note(ending string) {
	g.endings = append(g.endings, ending)
	const long = 32
	switch {
	case g.known != nil:
		g.known[ending] = true
	case len(g.endings) == long:
		g.known = map[string]bool{}
		for _, e := range g.endings {
			g.known[e] = true
		}
	}
}

// refuse refuses the sample that is being gathered.
func (g *gatherer) refuse(reason, name, message string) {
	if g.flaw == nil {
		g.flaw = &Flaw{Reason: reason, Member: name, Message: message}
	}
}

// choose returns the texts that are wanted of the sample. A member that is needed for them and cannot be read refuses it.
func (g *gatherer) choose() [][]string {
	out := make([][]string, len(g.want.Texts))
	parsed := map[string]map[string]json.RawMessage{}
	for i, sources := range g.want.Texts {
		for _, s := range sources {
			t, ok := g.texts[s.Member]
			if !ok || len(out[i]) > 0 {
				continue
			}
			var bad *flaw
			if s.Field == "" {
				out[i], bad = plain(t.data, s.Lines)
			} else {
				o, known := parsed[s.Member]
				if !known {
					o, bad = parse(t.data)
					parsed[s.Member] = o
				}
				out[i] = field(o, s.Field)
			}
			if bad != nil {
				g.refuse(bad.reason, t.name, bad.message)
				return nil
			}
		}
	}
	return out
}

// finish adds the sample that was gathered to the index.
func (g *gatherer) finish() {
	if !g.open {
		return
	}
	g.open = false
	var texts [][]string
	if g.flaw == nil && g.rank >= 0 && g.picture.size > 0 {
		texts = g.choose()
	}
	switch {
	case g.flaw != nil:
		g.index.flaw(g.flaw.Reason, g.flaw.Member, g.flaw.Message)
	case g.rank < 0:
		shown := g.endings[:min(len(g.endings), 8)]
		g.index.flaw(reasonNoPicture, g.key+"."+g.endings[0], fmt.Sprintf("its sample has no picture, but %s", strings.Join(shown, ", ")))
	case g.picture.size == 0:
		g.index.flaw(reasonEmpty, g.picture.name, "has no bytes")
	default:
		g.index.add(Record{Key: g.key, Ending: g.want.Pictures[g.rank], Offset: g.picture.offset, Size: g.picture.size, Texts: texts}, g.rank)
	}
}
