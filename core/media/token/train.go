package token

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"

	"tandem/core/fault"
)

// Train learns a BPE of at most vocabSize ids from captions. Equal captions (in any order) give an
// equal tokenizer: each round joins the most frequent pair within words, ties going to the first in
// the order of left and right symbol's bytes. It stops early when no pair occurs twice; VocabSize is
// what was asked for all the same, so that a model's size does not depend on its data. A vocabSize
// under 514 is fault.Invalid. Cost: one pass over the captions and some 10 µs per merge.
func Train(captions []string, vocabSize int) (*BPE, error) {
	if vocabSize < base+2 {
		return nil, fault.New(fault.Invalid, "vocab_size %d, a byte-level BPE needs %d", vocabSize, base+2)
	}
	tr := newTrainer(captions, vocabSize)
	for len(tr.bpe.symbols) < vocabSize-2 {
		p, ok := tr.best()
		if !ok {
			break
		}
		tr.join(p)
	}
	return tr.bpe, nil
}

// trainer keeps the counts of all pairs and where they occur, so that a merge costs only the words
// that it changes.
type trainer struct {
	bpe    *BPE
	words  [][]int32 // distinct words as ids
	counts []int64   // of each word
	pairs  map[uint64]*pairInfo
	queue  candidates
}

type pairInfo struct {
	count int64
	words []int32 // that contain or contained the pair; with repetitions
	last  int32   // the last of words, to save most repetitions
}

func newTrainer(captions []string, vocabSize int) *trainer {
	seen := map[string]int64{}
	for _, caption := range captions {
		split(Clean(caption), func(word string) {
			if word != startText && word != endText {
				seen[word]++
			}
		})
	}
	tr := &trainer{bpe: emptyBPE(vocabSize), pairs: map[uint64]*pairInfo{}}
	tr.queue.bpe = tr.bpe
	for _, word := range slices.Sorted(maps.Keys(seen)) {
		n := int32(len(tr.words))
		ids := byteIDs(word[:min(len(word), maxWord)], len(word) <= maxWord)
		tr.words, tr.counts = append(tr.words, ids), append(tr.counts, seen[word])
		for i := range len(ids) - 1 {
			tr.change(pair(ids[i], ids[i+1]), n, seen[word])
		}
	}
	for p, info := range tr.pairs {
		tr.queue.list = append(tr.queue.list, candidate{p, info.count})
	}
	heap.Init(&tr.queue)
	return tr
}

// change adds delta occurrences of a pair in a word.
func (tr *trainer) change(p uint64, word int32, delta int64) {
	info := tr.pairs[p]
	if info == nil {
		info = &pairInfo{last: -1}
		tr.pairs[p] = info
	}
	info.count += delta
	if delta > 0 && info.last != word {
		info.words, info.last = append(info.words, word), word
	}
}

// best takes the next pair to join from the queue. It returns false when no pair occurs twice. Counts in the
// queue may be too high, never too low: decreases are found here, increases are pushed by join.
func (tr *trainer) best() (uint64, bool) {
	for tr.queue.Len() > 0 {
		top := heap.Pop(&tr.queue).(candidate)
		info := tr.pairs[top.pair]
		if info == nil || info.count < 2 {
			continue
		}
		if info.count != top.count {
			if info.count < top.count {
				heap.Push(&tr.queue, candidate{top.pair, info.count})
			}
			continue
		}
		return top.pair, true
	}
	return 0, false
}

// join makes the merge of a pair and rewrites the words that contain it.
func (tr *trainer) join(p uint64) {
	left, right := int32(p>>32), int32(uint32(p))
	id := tr.bpe.addMerge(left, right)
	info := tr.pairs[p]
	delete(tr.pairs, p)
	risen := map[uint64]bool{}
	for _, w := range info.words {
		ids, count := tr.words[w], tr.counts[w]
		if !contains(ids, left, right) {
			continue // joined with another neighbour since, or listed twice
		}
		for i := range len(ids) - 1 {
			if q := pair(ids[i], ids[i+1]); q != p {
				tr.change(q, w, -count)
			}
		}
		out := 0
		for in := 0; in < len(ids); out++ {
			if ids[in] == left && in+1 < len(ids) && ids[in+1] == right {
				ids[out] = id
				in += 2
			} else {
				ids[out] = ids[in]
				in++
			}
		}
		ids = ids[:out]
		tr.words[w] = ids
		for i := range len(ids) - 1 {
			q := pair(ids[i], ids[i+1])
			tr.change(q, w, count)
			if ids[i] == id || ids[i+1] == id {
				risen[q] = true
			}
		}
	}
	for q := range risen { // the order of the pushes does not matter: the queue's order is total
		if q != p {
			heap.Push(&tr.queue, candidate{q, tr.pairs[q].count})
		}
	}
}

func contains(ids []int32, left, right int32) bool {
	for i := range len(ids) - 1 {
		if ids[i] == left && ids[i+1] == right {
			return true
		}
	}
	return false
}

type candidate struct {
	pair  uint64
	count int64
}

// candidates implements a heap with the most frequent pair on top.
type candidates struct {
	list []candidate
	bpe  *BPE
}

func (c *candidates) Len() int      { return len(c.list) }
func (c *candidates) Swap(i, j int) { c.list[i], c.list[j] = c.list[j], c.list[i] }
func (c *candidates) Push(x any)    { c.list = append(c.list, x.(candidate)) }
func (c *candidates) Pop() any {
	last := c.list[len(c.list)-1]
	c.list = c.list[:len(c.list)-1]
	return last
}

func (c *candidates) Less(i, j int) bool {
	a, b := c.list[i], c.list[j]
	if a.count != b.count {
		return a.count > b.count
	}
	return cmp.Or(c.bpe.compare(int32(a.pair>>32), int32(b.pair>>32)),
		c.bpe.compare(int32(uint32(a.pair)), int32(uint32(b.pair)))) < 0
}

// compare orders symbols by their bytes. A symbol that ends a word comes after the same one that does not.
func (t *BPE) compare(a, b int32) int {
	x, y := t.symbols[a], t.symbols[b]
	if x.end != y.end && x.text == y.text {
		if x.end {
			return 1
		}
		return -1
	}
	return cmp.Compare(x.text, y.text)
}
