package eval

import (
	"context"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/metric"
)

// Retrieval ranks captions against pictures, both ways (Radford et al. 2021, §3.1.4; recall as in Karpathy and Fei-Fei 2015).
type Retrieval struct {
	// EqualCaptions makes pictures with an equal caption positives of each other.
	EqualCaptions bool
}

// Needs implements Measure.
func (Retrieval) Needs() Needs { return Needs{} }

// Check implements Measure.
func (Retrieval) Check(clip.DatasetInfo, *clip.DatasetInfo) error { return nil }

// captionList lists the captions that pictures are searched for by, and found with.
type captionList struct {
	texts  []string
	groups [][]int64 // whose captions each is; one unless equal captions count as one
	equal  int       // captions that another group has too, each of its places counted
	all    int       // distinct captions of every group
}

// listCaptions returns every distinct caption of every group, or with once every distinct caption.
func (s *Samples) listCaptions(once bool) captionList {
	type pair struct {
		group   int64
		caption string
	}
	var list captionList
	seen, place := map[pair]bool{}, map[string]int{}
	sharing := map[string]int{} // groups by caption
	for i, all := range s.Captions {
		for _, c := range all {
			k := pair{s.Groups[i], c}
			if seen[k] {
				continue
			}
			seen[k] = true
			sharing[c]++
			list.all++
			at, known := place[c]
			if once && known {
				list.groups[at] = append(list.groups[at], s.Groups[i])
				continue
			}
			place[c] = len(list.texts)
			list.texts, list.groups = append(list.texts, c), append(list.groups, []int64{s.Groups[i]})
		}
	}
	for _, n := range sharing {
		if n > 1 {
			list.equal += n
		}
	}
	return list
}

// Measure implements Measure.
func (r Retrieval) Measure(ctx context.Context, f *Features) (Findings, error) {
	list := f.listCaptions(r.EqualCaptions)
	if len(list.texts) == 0 {
		return Findings{}, fault.New(fault.Invalid, "retrieval needs captions, and the dataset gave none")
	}
	if f.count != nil {
		f.count.Equal, f.count.Captions = list.equal, list.all
	}
	texts, err := f.EmbedTexts(ctx, list.texts)
	if err != nil {
		return Findings{}, err
	}
	pictures := metric.Alone(f.Groups)
	var out Findings
	for _, direction := range []struct {
		name       string
		from, to   *Matrix
		mine, them [][]int64
	}{
		{metric.ImageToText, f.Images, texts, pictures, list.groups},
		{metric.TextToImage, texts, f.Images, list.groups, pictures},
	} {
		acc := metric.NewRetrieval(direction.them)
		Similarities(direction.from, direction.to, func(i int, row []float32) { acc.Add(row, direction.mine[i]...) })
		f.kept.Ranks[direction.name] = acc.Ranks()
		for _, v := range acc.Metrics() {
			out.Values = append(out.Values, metric.Value{Name: metric.Directed(direction.name, v.Name), Value: v.Value})
		}
	}
	return out, nil
}
