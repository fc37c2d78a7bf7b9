package mixture

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/random"
	"tandem/core/tensor"
)

// Member is a configured dataset that is a source of a mixture.
type Member struct {
	Name string
	Data clip.Dataset
	Info clip.DatasetInfo
}

// Dataset is a mixture as one dataset. Its keys have the name of their source in front: "stamps/animals/cat.png".
type Dataset struct {
	members []Member
	starts  []int // as in Plan
	info    clip.DatasetInfo
}

var _ clip.Dataset = (*Dataset)(nil)

// Join makes one dataset of several, which are configured already. Labellings that are not the same in all of them are
// left out, and so are negatives where the sources have different numbers of them.
func Join(members []Member) *Dataset {
	d := &Dataset{members: members, starts: []int{0}}
	info := clip.DatasetInfo{Fixed: true, Targets: members[0].Info.Targets, Negatives: members[0].Info.Negatives}
	h := sha256.New()
	for i, m := range members {
		own := m.Info
		info.Len += own.Len
		d.starts = append(d.starts, info.Len)
		fmt.Fprintf(h, "%q %s\n", m.Name, own.Digest)
		info.Skipped += own.Skipped
		skips := slices.Clone(own.Skips)
		for k := range skips {
			skips[k].First = m.Name + ": " + skips[k].First
		}
		info.Skips = clip.AddSkips(info.Skips, skips...)
		if unknown := own.Skipped - clip.CountSkips(own.Skips); unknown > 0 {
			info.Skips = clip.AddSkips(info.Skips, clip.Skip{Reason: clip.ReasonOther, Count: unknown, First: m.Name})
		}
		if i > 0 {
			info.Note += "; "
		}
		info.Note += m.Name + ": " + own.Note
		for _, r := range own.Remarks {
			info.Remarks = append(info.Remarks, m.Name+": "+r)
		}
		info.Fixed = info.Fixed && own.Fixed
		if own.Negatives != info.Negatives {
			info.Negatives = 0
		}
		info.Targets = slices.DeleteFunc(slices.Clone(info.Targets), func(t clip.Target) bool { return !hasTarget(own, t) })
	}
	info.Remarks = append(info.Remarks, leftOut(members, info)...)
	for _, m := range members {
		if m.Info.Shards != nil {
			info.Shards = d.shards()
		}
	}
	info.Digest = hex.EncodeToString(h.Sum(nil))
	d.info = info
	return d
}

// shards returns the shards of all members; one that has none is a shard itself.
func (d *Dataset) shards() (out []int) {
	for _, m := range d.members {
		if m.Info.Shards == nil {
			out = append(out, m.Info.Len)
		}
		out = append(out, m.Info.Shards...)
	}
	return out
}

// leftOut says what sources have that the mixture has not.
func leftOut(members []Member, all clip.DatasetInfo) (remarks []string) {
	var targets, negatives []string
	for _, m := range members {
		for _, t := range m.Info.Targets {
			if !hasTarget(all, t) {
				targets = append(targets, fmt.Sprintf("%s of %s", t.Name, m.Name))
			}
		}
		negatives = append(negatives, fmt.Sprintf("%d of %s", m.Info.Negatives, m.Name))
	}
	if targets != nil {
		remarks = append(remarks, "labellings that are not the same in all sources are left out: "+strings.Join(targets, ", "))
	}
	if slices.ContainsFunc(members, func(m Member) bool { return m.Info.Negatives != all.Negatives }) {
		remarks = append(remarks, "the sources have different numbers of negatives, which are left out: "+strings.Join(negatives, ", "))
	}
	return remarks
}

func hasTarget(info clip.DatasetInfo, t clip.Target) bool {
	return slices.ContainsFunc(info.Targets, func(own clip.Target) bool { return own.Name == t.Name && slices.Equal(own.Classes, t.Classes) })
}

// Info describes the mixture.
func (d *Dataset) Info() clip.DatasetInfo { return d.info }

// Members returns the sources.
func (d *Dataset) Members() []Member { return d.members }

// Configure implements clip.Dataset.
func (d *Dataset) Configure(context.Context, clip.DatasetConfig) (clip.DatasetInfo, error) {
	return clip.DatasetInfo{}, fault.New(fault.Conflict, "the sources of a mixture are configured one by one")
}

// Captions implements clip.Dataset: those of the first source come first.
func (d *Dataset) Captions(ctx context.Context, limit int) ([]string, error) {
	seen := map[string]bool{}
	var out []string
	for _, m := range d.members {
		captions, err := m.Data.Captions(ctx, limit)
		if err != nil {
			return nil, err
		}
		for _, c := range captions {
			if limit > 0 && len(out) == limit {
				return out, nil
			}
			if !seen[c] {
				seen[c] = true
				out = append(out, c)
			}
		}
	}
	return out, nil
}

// Close implements clip.Dataset.
func (d *Dataset) Close() (err error) {
	for _, m := range d.members {
		if e := m.Data.Close(); err == nil {
			err = e
		}
	}
	return err
}

// Batch implements clip.Dataset: all samples are of the request's epoch.
func (d *Dataset) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	return d.BatchOf(ctx, q, nil)
}

// part holds the places of a request that one source answers for one epoch.
type part struct {
	member, epoch int
	places        []int
	indices       []int // in the source
	answer        *clip.Batch
}

// BatchOf does what Batch does with an epoch for each sample; nil stands for the request's.
func (d *Dataset) BatchOf(ctx context.Context, q clip.BatchRequest, epochs []int) (*clip.Batch, error) {
	parts, err := d.split(q, epochs)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, p := range parts {
			if p.answer != nil {
				p.answer.Images.Free()
				p.answer.Images2.Free()
			}
		}
	}()
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range parts {
		g.Go(fault.Safely(func() (err error) {
			own := q
			own.Indices, own.Epoch, own.Into, own.Into2 = p.indices, p.epoch, nil, nil
			p.answer, err = d.members[p.member].Data.Batch(ctx, own)
			if err != nil {
				if f, ok := err.(*fault.Error); ok && f.Op == "" {
					f.Op = "source " + d.members[p.member].Name
				}
				return err
			}
			return p.check(q, d.members[p.member].Name)
		}))
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return d.join(q, parts), nil
}

// split sorts the places of a request by who answers.
func (d *Dataset) split(q clip.BatchRequest, epochs []int) ([]*part, error) {
	var parts []*part
	for at, index := range q.Indices {
		if index < 0 || index >= d.info.Len {
			return nil, fault.New(fault.Invalid, "index %d of a mixture of %d samples", index, d.info.Len)
		}
		member, found := slices.BinarySearch(d.starts, index)
		if !found {
			member--
		}
		for d.starts[member+1] == index { // sources without a sample
			member++
		}
		epoch := q.Epoch
		if epochs != nil {
			epoch = epochs[at]
		}
		i := slices.IndexFunc(parts, func(p *part) bool { return p.member == member && p.epoch == epoch })
		if i < 0 {
			i = len(parts)
			parts = append(parts, &part{member: member, epoch: epoch})
		}
		parts[i].places = append(parts[i].places, at)
		parts[i].indices = append(parts[i].indices, index-d.starts[member])
	}
	return parts, nil
}

// check reports an answer that has not what was asked for.
func (p *part) check(q clip.BatchRequest, name string) error {
	b, n := p.answer, len(p.places)
	switch {
	case len(b.Keys) != n, len(b.Captions) != n, !q.Train && len(b.All) != n, q.Negatives && len(b.Negatives) != n:
		return fault.New(fault.Internal, "%s: the batch does not have all of %d samples", name, n)
	case !q.NoImages && (b.Images == nil || b.Images.Shape[0] != n), q.View2 && !q.NoImages && (b.Images2 == nil || b.Images2.Shape[0] != n):
		return fault.New(fault.Internal, "%s: the batch does not have %d pictures", name, n)
	}
	return nil
}

// join puts the answers in the places of a request.
func (d *Dataset) join(q clip.BatchRequest, parts []*part) *clip.Batch {
	n := len(q.Indices)
	b := &clip.Batch{Captions: make([]string, n), Keys: make([]string, n), Groups: make([]int64, n), Labels: map[string][]int32{}}
	for _, t := range d.info.Targets {
		b.Labels[t.Name] = make([]int32, n)
	}
	if !q.Train {
		b.All = make([][]string, n)
	}
	if q.Negatives {
		b.Negatives = make([][]string, n)
	}
	b.Images, b.Images2 = q.Into, q.Into2
	for _, p := range parts {
		name := d.members[p.member].Name
		for i, at := range p.places {
			b.Keys[at], b.Captions[at] = name+"/"+p.answer.Keys[i], p.answer.Captions[i]
			if i < len(p.answer.Groups) {
				b.Groups[at] = d.group(p.member, p.answer.Groups[i])
			}
			if b.All != nil {
				b.All[at] = p.answer.All[i]
			}
			if i < len(p.answer.Sizes) {
				if b.Sizes == nil {
					b.Sizes = make([][2]int, n)
				}
				b.Sizes[at] = p.answer.Sizes[i]
			}
			if b.Negatives != nil {
				b.Negatives[at] = p.answer.Negatives[i]
			}
			for target, labels := range b.Labels {
				labels[at] = -1
				if own := p.answer.Labels[target]; i < len(own) {
					labels[at] = own[i]
				}
			}
		}
		if !q.NoImages {
			p.put(&b.Images, p.answer.Images, n)
			if q.View2 {
				p.put(&b.Images2, p.answer.Images2, n)
			}
		}
		for _, f := range p.answer.Faults {
			f.Index, f.Key = f.Index+d.starts[p.member], name+"/"+f.Key
			b.Faults = append(b.Faults, f)
		}
	}
	return b
}

// put copies pictures to their places among n, for which it makes the memory where there is none.
func (p *part) put(to **tensor.Tensor, from *tensor.Tensor, n int) {
	if *to == nil {
		*to = tensor.New(from.DType, append([]int{n}, from.Shape[1:]...)...)
	}
	size := len(from.Data) / len(p.places)
	for i, at := range p.places {
		copy((*to).Data[at*size:(at+1)*size], from.Data[i*size:(i+1)*size])
	}
}

// group returns a group's number in the mixture, which no group of another source has.
func (d *Dataset) group(member int, group int64) int64 {
	if n := int64(len(d.members)); group >= 0 && group < 1<<62/n {
		return group*n + int64(member)
	}
	return -1 - int64(random.New(uint64(group), "group", member).Uint64()>>1) // numbers made of digests do not meet by chance
}
