package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
)

// Place tells where the bytes of a picture lie.
type Place struct {
	Kind   string // "warc", "folder", "blob", "web"
	Source int
	Path   string // in the folder
	Start  int64  // of the record in the archive
	Skip   int64  // within a compressed member
}

// Text is a text that may describe a candidate's picture.
type Text struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// Candidate is a picture somewhere with texts.
type Candidate struct {
	ID     int64
	PageID int64
	Source int      // that has the page
	Page   string   // address of the page
	URLs   []string // where the picture may lie
	Texts  []Text
	State  string
	Filter string // that refused it
	Reason string

	Picture  int64 // 0 for none
	Caption  string
	Kind     string // where the caption is from
	Captions []Text // further captions
	Twin     int64  // candidate that it is the same as
	Score    *float64
	Shard    int
	Key      string
}

// AddCandidate adds a candidate as it was found. Its order is that of being added.
func (t *Tx) AddCandidate(page int64, urls []string, texts []Text, state, filter, reason string) {
	t.exec("insert into candidate (page, urls, texts, state, filter, reason) values (?, ?, ?, ?, ?, ?)", page, encode(urls), encode(texts), state, filter, reason)
}

// SetCandidate changes what was decided of a candidate.
func (t *Tx) SetCandidate(c *Candidate) {
	captions, picture := "", sql.NullInt64{Int64: c.Picture, Valid: c.Picture > 0}
	if len(c.Captions) > 0 {
		captions = encode(c.Captions)
	}
	t.exec("update candidate set state = ?, filter = ?, reason = ?, picture = ?, caption = ?, kind = ?, captions = ?, twin = ?, score = ? where id = ?",
		c.State, c.Filter, c.Reason, picture, c.Caption, c.Kind, captions, c.Twin, c.Score, c.ID)
}

const candidateColumns = `c.id, c.page, p.source, p.url, c.urls, c.texts, c.state, c.filter, c.reason, coalesce(c.picture, 0), c.caption, c.kind, c.captions, c.twin,
	c.score, c.shard, c.key`

func scanCandidate(r *sql.Rows, more ...any) (*Candidate, error) {
	c := &Candidate{}
	var urls, texts, captions string
	var score sql.NullFloat64
	if err := r.Scan(append([]any{&c.ID, &c.PageID, &c.Source, &c.Page, &urls, &texts, &c.State, &c.Filter, &c.Reason, &c.Picture, &c.Caption, &c.Kind, &captions,
		&c.Twin, &score, &c.Shard, &c.Key}, more...)...); err != nil {
		return nil, err
	}
	if score.Valid {
		c.Score = &score.Float64
	}
	for text, into := range map[string]any{urls: &c.URLs, texts: &c.Texts, captions: &c.Captions} {
		if text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Candidates returns candidates behind a number in a state ("" for any), in their order, no more than limit.
func (l *Ledger) Candidates(after int64, state string, limit int) (out []*Candidate, err error) {
	err = l.each("select "+candidateColumns+" from candidate c join page p on p.id = c.page where c.id > ? and (? = '' or c.state = ?) order by c.id limit ?",
		[]any{after, state, state, limit}, func(r *sql.Rows) error {
			c, err := scanCandidate(r)
			out = append(out, c)
			return err
		})
	return out, err
}

// Examples returns up to n candidates that a filter refused for a reason, or kept ones when both are "", spread over all.
func (l *Ledger) Examples(filter, reason string, n int) (out []*Candidate, err error) {
	where, args := "c.filter = ? and c.reason = ?", []any{filter, reason}
	if filter == "" {
		where, args = "c.state in (?, ?)", []any{Kept, Written}
	}
	// A hash of the number spreads them; the order is the same each time.
	err = l.each("select "+candidateColumns+" from candidate c join page p on p.id = c.page where "+where+" order by (c.id * 2654435761) % 4294967296 limit ?",
		append(args, n), func(r *sql.Rows) error {
			c, err := scanCandidate(r)
			out = append(out, c)
			return err
		})
	return out, err
}

// Picture is a picture that candidates want.
type Picture struct {
	ID     int64
	URL    string
	Place  Place
	State  string
	Reason string
	Tries  int

	Bytes              int64
	Format             string // ending of its files
	W, H               int
	Animated           bool
	Entropy, Commonest float64
	Digest             string // hex sha256 of the file
	Exact              string // hex, see alike.Exact
	Alike              uint64 // see alike.Perceptual
}

const pictureColumns = `i.id, i.url, i.kind, i.source, i.path, i.start, i.skip, i.state, i.reason, i.tries, i.bytes, i.format, i.width, i.height, i.animated,
	i.entropy, i.commonest, i.digest, i.exact, i.alike`

func (p *Picture) fields(hash *string) []any {
	return []any{&p.ID, &p.URL, &p.Place.Kind, &p.Place.Source, &p.Place.Path, &p.Place.Start, &p.Place.Skip, &p.State, &p.Reason, &p.Tries, &p.Bytes,
		&p.Format, &p.W, &p.H, &p.Animated, &p.Entropy, &p.Commonest, &p.Digest, &p.Exact, hash}
}

func (p *Picture) setHash(hash string) (err error) {
	if hash != "" {
		p.Alike, err = strconv.ParseUint(hash, 16, 64)
	}
	return err
}

// WantPicture returns the number of the picture at an address, and adds it when it is not there.
func (t *Tx) WantPicture(url string, at Place) (id int64) {
	if t.err != nil {
		return 0
	}
	if t.err = t.tx.QueryRow("select id from picture where url = ?", url).Scan(&id); t.err == nil || t.err != sql.ErrNoRows {
		return id
	}
	t.err = nil
	if r := t.exec("insert into picture (url, kind, source, path, start, skip, state) values (?, ?, ?, ?, ?, ?, ?)", url, at.Kind, at.Source, at.Path, at.Start, at.Skip,
		Found); r != nil && t.err == nil {
		id, t.err = r.LastInsertId()
	}
	return id
}

// SetPicture changes what is known of a picture. The candidates that want it are fetched when it is.
func (t *Tx) SetPicture(p *Picture) {
	hash := ""
	if p.Exact != "" {
		hash = fmt.Sprintf("%016x", p.Alike)
	}
	t.exec(`update picture set kind = ?, source = ?, path = ?, start = ?, skip = ?, state = ?, reason = ?, tries = ?, bytes = ?, format = ?, width = ?, height = ?,
		animated = ?, entropy = ?, commonest = ?, digest = ?, exact = ?, alike = ? where id = ?`, p.Place.Kind, p.Place.Source, p.Place.Path, p.Place.Start,
		p.Place.Skip, p.State, p.Reason, p.Tries, p.Bytes, p.Format, p.W, p.H, p.Animated, p.Entropy, p.Commonest, p.Digest, p.Exact, hash, p.ID)
	if p.State == Fetched {
		t.exec("update candidate set state = ? where picture = ? and state = ?", Fetched, p.ID, Wanted)
	}
}

// Pictures returns pictures behind a number in a state, from the web or not, in their order, no more than limit.
func (l *Ledger) Pictures(after int64, state string, web bool, limit int) (out []*Picture, err error) {
	err = l.each("select "+pictureColumns+" from picture i where i.id > ? and i.state = ? and (i.kind = 'web') = ? order by i.id limit ?",
		[]any{after, state, web, limit}, func(r *sql.Rows) error {
			p, hash := &Picture{}, ""
			if err := r.Scan(p.fields(&hash)...); err != nil {
				return err
			}
			out = append(out, p)
			return p.setHash(hash)
		})
	return out, err
}

// CountPictures returns how many pictures are in a state.
func (l *Ledger) CountPictures(state string) (n int, err error) {
	err = l.db.QueryRow("select count(*) from picture where state = ?", state).Scan(&n)
	return n, l.fail(err)
}

// PictureOf returns the picture of a number.
func (l *Ledger) PictureOf(id int64) (*Picture, error) {
	p, hash := &Picture{}, ""
	if err := l.db.QueryRow("select "+pictureColumns+" from picture i where i.id = ?", id).Scan(p.fields(&hash)...); err != nil {
		return nil, l.fail(err)
	}
	return p, l.fail(p.setHash(hash))
}

// Pair is a candidate with its picture.
type Pair struct {
	*Candidate
	Image *Picture
}

// SetScore notes how alike the picture and the caption of a candidate are.
func (t *Tx) SetScore(id int64, score float64) {
	t.exec("update candidate set score = ? where id = ?", score, id)
}

// Pairs yields the candidates that have a picture, in one of two states, in their order. It reads them some at a time, so that
// the ledger may be changed meanwhile. An error, of ctx too, is the last that it yields.
func (l *Ledger) Pairs(ctx context.Context, state, or string) iter.Seq2[Pair, error] {
	const limit = 2000
	return func(yield func(Pair, error) bool) {
		for after := int64(0); ; {
			pairs, err := l.pairs(after, state, or, limit)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Pair{}, err)
				return
			}
			for _, p := range pairs {
				if !yield(p, nil) {
					return
				}
				after = p.ID
			}
			if len(pairs) < limit {
				return
			}
		}
	}
}

// pairs returns those of Pairs behind a number, no more than limit.
func (l *Ledger) pairs(after int64, state, or string, limit int) (out []Pair, err error) {
	err = l.each("select "+candidateColumns+", "+pictureColumns+` from candidate c join page p on p.id = c.page join picture i on i.id = c.picture
		where c.id > ? and c.state in (?, ?) order by c.id limit ?`, []any{after, state, or, limit}, func(r *sql.Rows) error {
		p, hash := &Picture{}, ""
		c, err := scanCandidate(r, p.fields(&hash)...)
		if err != nil {
			return err
		}
		out = append(out, Pair{c, p})
		return p.setHash(hash)
	})
	return out, err
}

// PairsOf returns the candidates of these numbers with their pictures, in this order.
func (l *Ledger) PairsOf(ids []int64) (out []Pair, err error) {
	found := map[int64]Pair{}
	err = l.each("select "+candidateColumns+", "+pictureColumns+` from candidate c join page p on p.id = c.page join picture i on i.id = c.picture
		where c.id in (select value from json_each(?))`, []any{encode(ids)}, func(r *sql.Rows) error {
		p, hash := &Picture{}, ""
		c, err := scanCandidate(r, p.fields(&hash)...)
		if err != nil {
			return err
		}
		found[c.ID] = Pair{c, p}
		return p.setHash(hash)
	})
	for _, id := range ids {
		out = append(out, found[id])
	}
	return out, err
}

// AddBody notes where a source has a picture; the first place stays. refused names a directive of its owner against its use.
func (t *Tx) AddBody(url string, at Place, refused string) {
	t.exec("insert into body values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing", url, at.Kind, at.Source, at.Path, at.Start, at.Skip, refused)
}

// Body returns where a source has the picture at an address; false when none has.
func (t *Tx) Body(url string) (at Place, refused string, ok bool) {
	if t.err != nil {
		return at, "", false
	}
	err := t.tx.QueryRow("select kind, source, path, start, skip, refused from body where url = ?", url).Scan(&at.Kind, &at.Source, &at.Path, &at.Start, &at.Skip, &refused)
	if err != nil && err != sql.ErrNoRows {
		t.err = err
	}
	return at, refused, err == nil
}

// Count counts rows of something.
type Count struct {
	Filter string `json:"filter"`
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// Counts returns how many candidates are in each state (as Filter), and how many each filter refused for each reason.
func (l *Ledger) Counts() (states, refused []Count, err error) {
	if err = l.each("select state, '', count(*) from candidate group by state order by state", nil, collect(&states)); err != nil {
		return nil, nil, err
	}
	err = l.each("select filter, reason, count(*) from candidate where state = 'refused' group by filter, reason order by filter, count(*) desc, reason", nil,
		collect(&refused))
	return states, refused, err
}

// Kinds returns how many kept candidates have their caption from where.
func (l *Ledger) Kinds() (out []Count, err error) {
	err = l.each("select kind, '', count(*) from candidate where state in ('kept', 'written') group by kind order by count(*) desc, kind", nil, collect(&out))
	return out, err
}

// CountPages returns the number of pages.
func (l *Ledger) CountPages() (n int, err error) {
	err = l.db.QueryRow("select count(*) from page").Scan(&n)
	return n, l.fail(err)
}

func collect(into *[]Count) func(*sql.Rows) error {
	return func(r *sql.Rows) error {
		var c Count
		err := r.Scan(&c.Filter, &c.Reason, &c.Count)
		*into = append(*into, c)
		return err
	}
}
