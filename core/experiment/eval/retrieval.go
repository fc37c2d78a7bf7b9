package eval

import (
	"context"
	"fmt"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/metric"
)

// captionList lists the captions that pictures are searched for by, and found with.
type captionList struct {
	texts  []string
	groups [][]int64 // whose captions each is; one unless equal captions count as one
	equal  int       // captions that another group has too, each of its places counted
	all    int       // distinct captions of every group
}

// listCaptions returns every distinct caption of every group, or with once every distinct caption.
func (s *samples) listCaptions(once bool) captionList {
	type pair struct {
		group   int64
		caption string
	}
	var list captionList
	seen, place := map[pair]bool{}, map[string]int{}
	sharing := map[string]int{} // groups by caption
	for i, all := range s.captions {
		for _, c := range all {
			k := pair{s.groups[i], c}
			if seen[k] {
				continue
			}
			seen[k] = true
			sharing[c]++
			list.all++
			at, known := place[c]
			if once && known {
				list.groups[at] = append(list.groups[at], s.groups[i])
				continue
			}
			place[c] = len(list.texts)
			list.texts, list.groups = append(list.texts, c), append(list.groups, []int64{s.groups[i]})
		}
	}
	for _, n := range sharing {
		if n > 1 {
			list.equal += n
		}
	}
	return list
}

// retrieve ranks the captions against the pictures, both ways.
func (s *samples) retrieve(ctx context.Context, images *matrix, text clip.Encoder, cfg Config, count *counter) ([]metric.Value, error) {
	list := s.listCaptions(cfg.EqualCaptions)
	if len(list.texts) == 0 {
		return nil, fault.New(fault.Invalid, "retrieval needs captions, and the dataset gave none")
	}
	count.Equal, count.Captions = list.equal, list.all
	texts, err := encodeTexts(ctx, text, list.texts, cfg.BatchSize, count)
	if err != nil {
		return nil, err
	}
	pictures := metric.Alone(s.groups)
	var out []metric.Value
	for _, direction := range []struct {
		name       string
		from, to   *matrix
		mine, them [][]int64
	}{
		{metric.ImageToText, images, texts, pictures, list.groups},
		{metric.TextToImage, texts, images, list.groups, pictures},
	} {
		acc := metric.NewRetrieval(direction.them)
		similarities(direction.from, direction.to, func(i int, row []float32) { acc.Add(row, direction.mine[i]...) })
		for _, v := range acc.Metrics() {
			out = append(out, metric.Value{Name: metric.Directed(direction.name, v.Name), Value: v.Value})
		}
	}
	return out, nil
}

// equalRows returns the rows that equal an earlier one.
func (m *matrix) equalRows() []Twins {
	var out []Twins
	first := map[string]int{}
	for i := range m.rows {
		key := fmt.Sprint(m.row(i)[:min(8, m.cols)]) // enough to tell most apart; the rest is compared
		if j, ok := first[key]; !ok {
			first[key] = i
		} else if slices.Equal(m.row(i), m.row(j)) {
			out = append(out, Twins{j, i})
		}
	}
	return out
}

// counter counts the tokens of texts, where the encoder knows.
type counter struct {
	Texts
	encoder clip.Encoder
	mute    bool
}

func (c *counter) add(ctx context.Context, texts []string) error {
	e, ok := c.encoder.(clip.TokenCounter)
	if !ok || c.mute {
		return nil
	}
	tokens, limit, err := e.CountTokens(ctx, nil, texts)
	if fault.KindOf(err) == fault.Unavailable {
		c.mute = true
		return nil
	}
	if err != nil {
		return err
	}
	c.Context = limit
	for _, n := range tokens {
		c.N++
		c.Longest = max(c.Longest, n)
		if limit > 0 && n > limit {
			c.Cut++
		}
		if n <= 2 {
			c.Blank++
		}
	}
	return nil
}
