package wire

import (
	"fmt"
	"math"
	"strings"

	"tandem/core/plugin/wire/pb"
)

// checkEncoderInfo checks what an encoder says of itself; dim is what it was asked for.
func (c *Conn) checkEncoderInfo(r *pb.EncoderInfo, dim int) error {
	k := c.checker("Configure")
	k.require(r.EmbedDim == int64(dim), "embed_dim is %d, want %d", r.EmbedDim, dim)
	k.count("parameters", r.Parameters, 0, maxCount)
	k.count("frozen", r.Frozen, 0, max(0, r.Parameters))
	k.count("image_size", r.ImageSize, 0, maxSide)
	k.count("context_length", r.ContextLength, 0, maxTokens)
	k.count("vocab_size", r.VocabSize, 0, maxTokens)
	k.count("token_count", r.TokenCount, 0, maxSide)
	k.number("flops", r.Flops)
	k.text("backend", r.Backend, maxText)
	k.buckets(r.BucketSizes, r.Parameters-r.Frozen)
	return k.err
}

// buckets checks the sizes of buckets of gradients: there are none, or they hold all that is trained.
func (k *checker) buckets(sizes []int64, trained int64) {
	total := int64(0)
	for i, n := range sizes {
		k.count(fmt.Sprintf("the size of bucket %d", i), n, 1, maxBucket)
		total += n
	}
	k.require(len(sizes) == 0 || total == trained, "the buckets hold %d gradients, %d parameters are trained", total, trained)
}

func (c *Conn) lossInfo(r *pb.LossInfo) error {
	k := c.checker("Configure")
	k.count("parameters", r.Parameters, 0, maxCount)
	k.text("backend", r.Backend, maxText)
	k.buckets(r.BucketSizes, r.Parameters)
	return k.err
}

func (c *Conn) datasetInfo(r *pb.DatasetInfo) error {
	k := c.checker("Configure")
	k.count("len", r.Len, 1, maxCount)
	k.count("skipped", r.Skipped, 0, maxCount)
	k.count("negatives", r.Negatives, 0, maxNames)
	if len(r.Shards) > 0 {
		total := int64(0)
		for _, n := range r.Shards {
			k.count("the number of samples of a shard", n, 0, maxCount)
			total += n
		}
		k.require(total == r.Len, "the shards have %d samples together, len is %d", total, r.Len)
	}
	if len(r.Skips) > 0 {
		k.require(len(r.Skips) <= maxNames, "there are %d reasons of skipped records, want at most %d", len(r.Skips), maxNames)
		total := int64(0)
		for _, s := range r.Skips {
			k.name("a reason of skipped records", s.Reason)
			k.count("the count of skipped records", s.Count, 1, maxCount)
			k.text("the first skipped record", s.First, maxText)
			total += s.Count
		}
		k.require(k.err != nil || total == r.Skipped, "the counts of skips are %d together, skipped is %d", total, r.Skipped)
	}
	k.text("note", r.Note, maxText)
	k.require(len(r.Remarks) <= maxNames, "there are %d remarks, want at most %d", len(r.Remarks), maxNames)
	for _, remark := range r.Remarks {
		k.text("a remark", remark, maxText)
	}
	// It stands in the database, in names of files and in tables.
	word := func(r rune) bool {
		return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || strings.ContainsRune(".:_+-=/", r))
	}
	k.require(r.Digest != "" && len(r.Digest) <= 200 && !strings.ContainsFunc(r.Digest, word),
		"digest is %s, want a checksum of the samples in letters and digits", quote(r.Digest))
	k.require(len(r.Targets) <= maxNames, "there are %d targets, want at most %d", len(r.Targets), maxNames)
	seen := map[string]bool{}
	for _, t := range r.Targets {
		k.name("the name of a target", t.Name)
		k.require(!seen[t.Name], "two targets are named %q", t.Name)
		seen[t.Name] = true
		k.count(fmt.Sprintf("the number of classes of target %q", t.Name), int64(len(t.Classes)), 1, maxClasses)
		for i, class := range t.Classes {
			k.text(fmt.Sprintf("class %d of target %q", i, t.Name), class, maxText)
		}
		if k.err != nil {
			break
		}
	}
	return k.err
}

// checkPlan checks a plugin's plan of the memory that a configuration will take.
func (c *Conn) checkPlan(r *pb.PlanResponse) error {
	k := c.checker("Plan")
	k.text("device", r.Device, maxName)
	k.count("total_bytes", r.TotalBytes, 0, math.MaxInt64/4)
	k.count("free_bytes", r.FreeBytes, 0, max(0, r.TotalBytes))
	k.count("least_bytes", r.LeastBytes, 0, math.MaxInt64/4)
	k.parts(r.Parts)
	return k.err
}

func (c *Conn) memory(r *pb.MemoryResponse) error {
	k := c.checker("Memory")
	k.count("base_bytes", r.BaseBytes, 0, math.MaxInt64/4)
	k.parts(r.Parts)
	return k.err
}

func (k *checker) parts(parts []*pb.MemoryPart) {
	k.require(len(parts) <= maxNames, "there are %d parts, want at most %d", len(parts), maxNames)
	for _, p := range parts {
		k.name("the name of a part", p.Name)
		k.count(fmt.Sprintf("the memory of %q", p.Name), p.Bytes, 0, math.MaxInt64/4/maxNames)
	}
}

func (c *Conn) events(r *pb.ProfileResponse) error {
	k := c.checker("Profile")
	for _, name := range r.Names {
		k.text("the name of an operation or a layer", name, 1<<12)
	}
	for i, e := range r.Events {
		k.require(int(e.Op) < len(r.Names) && int(e.Scope) < len(r.Names), "event %d has the names %d and %d of %d", i, e.Op, e.Scope, len(r.Names))
		k.require(e.DurationNanos >= 0, "event %d took %d ns", i, e.DurationNanos)
		k.number(fmt.Sprintf("flops of event %d", i), e.Flops)
		k.number(fmt.Sprintf("bytes of event %d", i), e.Bytes)
		if k.err != nil {
			break
		}
	}
	return k.err
}
