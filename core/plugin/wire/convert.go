package wire

import (
	"tandem/core/clip"
	"tandem/core/plugin/wire/pb"
)

func optimizerOut(o clip.Optimizer) *pb.Optimizer {
	out := &pb.Optimizer{Name: o.Name, WeightDecay: o.WeightDecay, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps,
		Momentum: o.Momentum, DecayEmbeddings: o.DecayEmbeddings, LayerDecay: o.LayerDecay, EmaDecay: o.EMADecay}
	for _, g := range o.Groups {
		out.Groups = append(out.Groups, &pb.ParamGroup{Params: validAll(g.Params), LrScale: g.LRScale, WeightDecay: g.WeightDecay, Start: int64(g.Start)})
	}
	return out
}

func optimizerIn(o *pb.Optimizer) clip.Optimizer {
	out := clip.Optimizer{Name: o.GetName(), WeightDecay: o.GetWeightDecay(), Beta1: o.GetBeta1(), Beta2: o.GetBeta2(),
		Eps: o.GetEps(), Momentum: o.GetMomentum(), DecayEmbeddings: o.GetDecayEmbeddings(), LayerDecay: o.GetLayerDecay(),
		EMADecay: o.GetEmaDecay()}
	for _, g := range o.GetGroups() {
		out.Groups = append(out.Groups, clip.ParamGroup{Params: g.Params, LRScale: g.LrScale, WeightDecay: g.WeightDecay, Start: int(g.Start)})
	}
	return out
}

func computeOut(c clip.Compute) *pb.Compute {
	return &pb.Compute{Device: c.Device, Threads: int64(c.Threads), Precision: c.Precision, Checkpointing: c.Checkpointing,
		MemoryLimit: c.MemoryLimit, Communicator: communicatorOut(c.Communicator)}
}

func communicatorOut(c *clip.Communicator) *pb.Communicator {
	if c == nil {
		return nil
	}
	return &pb.Communicator{Id: c.ID, Rank: int64(c.Rank), Size: int64(c.Size)}
}

func communicatorIn(c *pb.Communicator) *clip.Communicator {
	if c == nil {
		return nil
	}
	return &clip.Communicator{ID: c.Id, Rank: int(c.Rank), Size: int(c.Size)}
}

func computeIn(c *pb.Compute) clip.Compute {
	return clip.Compute{Device: c.GetDevice(), Threads: int(c.GetThreads()), Precision: c.GetPrecision(),
		Checkpointing: c.GetCheckpointing(), MemoryLimit: c.GetMemoryLimit(), Communicator: communicatorIn(c.GetCommunicator())}
}

func encoderConfigOut(c clip.EncoderConfig) *pb.EncoderConfig {
	return &pb.EncoderConfig{With: c.With, EmbedDim: int64(c.EmbedDim), Seed: c.Seed, Optimizer: optimizerOut(c.Optimizer),
		Compute: computeOut(c.Compute), Captions: validAll(c.Captions), Freeze: freezeOut(c.Freeze),
		Modality: string(c.Modality), Lora: loraOut(c.LoRA), SyncNorm: c.SyncNorm}
}

func loraOut(l *clip.LoRA) *pb.LoRA {
	if l == nil {
		return nil
	}
	return &pb.LoRA{Rank: int64(l.Rank), Alpha: l.Alpha, Targets: validAll(l.Targets), Dropout: l.Dropout, Train: validAll(l.Train)}
}

func loraIn(l *pb.LoRA) *clip.LoRA {
	if l == nil {
		return nil
	}
	return &clip.LoRA{Rank: int(l.Rank), Alpha: l.Alpha, Targets: l.Targets, Dropout: l.Dropout, Train: l.Train}
}

func freezeOut(f clip.Freeze) *pb.Freeze {
	if !f.Any() {
		return nil
	}
	out := &pb.Freeze{All: f.All, Params: validAll(f.Params)}
	if f.Blocks != nil {
		n := int64(*f.Blocks)
		out.Blocks = &n
	}
	return out
}

func freezeIn(f *pb.Freeze) clip.Freeze {
	out := clip.Freeze{All: f.GetAll(), Params: f.GetParams()}
	if f != nil && f.Blocks != nil {
		n := int(*f.Blocks)
		out.Blocks = &n
	}
	return out
}

func encoderConfigIn(c *pb.EncoderConfig) clip.EncoderConfig {
	return clip.EncoderConfig{With: c.With, EmbedDim: int(c.EmbedDim), Seed: c.Seed, Optimizer: optimizerIn(c.Optimizer),
		Compute: computeIn(c.Compute), Captions: c.Captions, Freeze: freezeIn(c.Freeze),
		Modality: clip.Modality(c.Modality), LoRA: loraIn(c.Lora), SyncNorm: c.SyncNorm}
}

func encoderInfoOut(i clip.EncoderInfo) *pb.EncoderInfo {
	return &pb.EncoderInfo{Modality: string(i.Modality), EmbedDim: int64(i.EmbedDim), Parameters: i.Parameters,
		ImageSize: int64(i.ImageSize), ContextLength: int64(i.ContextLength), VocabSize: int64(i.VocabSize),
		Flops: i.FLOPs, Backend: valid(i.Backend), Frozen: i.Frozen, Fixed: i.Fixed, Pins: i.Pins,
		Remarks: validAll(i.Remarks), TokenCount: int64(i.TokenCount), BucketSizes: sizesOut(i.BucketSizes)}
}

func sizesOut(sizes []int) (out []int64) {
	for _, n := range sizes {
		out = append(out, int64(n))
	}
	return out
}

func sizesIn(sizes []int64) (in []int) {
	for _, n := range sizes {
		in = append(in, int(n))
	}
	return in
}

func encoderInfoIn(i *pb.EncoderInfo) clip.EncoderInfo {
	return clip.EncoderInfo{Modality: clip.Modality(i.Modality), EmbedDim: int(i.EmbedDim), Parameters: i.Parameters,
		ImageSize: int(i.ImageSize), ContextLength: int(i.ContextLength), VocabSize: int(i.VocabSize),
		FLOPs: i.Flops, Backend: i.Backend, Frozen: i.Frozen, Fixed: i.Fixed, Pins: i.Pins, Remarks: i.Remarks, TokenCount: int(i.TokenCount),
		BucketSizes: sizesIn(i.BucketSizes)}
}

func lossConfigOut(c clip.LossConfig) *pb.LossConfig {
	return &pb.LossConfig{With: c.With, EmbedDim: int64(c.EmbedDim), BatchSize: int64(c.BatchSize), Seed: c.Seed,
		Optimizer: optimizerOut(c.Optimizer), Compute: computeOut(c.Compute), Negatives: int64(c.Negatives),
		TeacherImageDim: int64(c.TeacherImageDim), TeacherTextDim: int64(c.TeacherTextDim)}
}

func lossConfigIn(c *pb.LossConfig) clip.LossConfig {
	return clip.LossConfig{With: c.With, EmbedDim: int(c.EmbedDim), BatchSize: int(c.BatchSize), Seed: c.Seed,
		Optimizer: optimizerIn(c.Optimizer), Compute: computeIn(c.Compute), Negatives: int(c.Negatives),
		TeacherImageDim: int(c.TeacherImageDim), TeacherTextDim: int(c.TeacherTextDim)}
}

func datasetConfigOut(c clip.DatasetConfig) *pb.DatasetConfig {
	out := &pb.DatasetConfig{With: c.With, ImageSize: int64(c.ImageSize), Seed: c.Seed, Threads: int64(c.Threads),
		CacheDir: c.CacheDir}
	if a := c.Augment; a != nil {
		out.Augment = &pb.Augment{Name: a.Name, ScaleMin: a.Scale[0], ScaleMax: a.Scale[1],
			RatioMin: a.Ratio[0], RatioMax: a.Ratio[1], Hflip: a.HFlip,
			ColorJitterProb: a.ColorJitterProb, Grayscale: a.Grayscale, Blur: a.Blur, BlurSigmaMin: a.BlurSigma[0], BlurSigmaMax: a.BlurSigma[1],
			RandaugmentOps: int64(a.RandAugmentOps), RandaugmentMagnitude: int64(a.RandAugmentMagnitude)}
		if a.ColorJitter != [4]float64{} {
			out.Augment.ColorJitter = a.ColorJitter[:]
		}
	}
	if c.Cache != nil {
		out.Cache = &pb.PictureCache{Format: c.Cache.Format, MaxBytes: c.Cache.MaxBytes}
	}
	return out
}

func datasetConfigIn(c *pb.DatasetConfig) clip.DatasetConfig {
	out := clip.DatasetConfig{With: c.With, ImageSize: int(c.ImageSize), Seed: c.Seed, Threads: int(c.Threads),
		CacheDir: c.CacheDir}
	if a := c.Augment; a != nil {
		out.Augment = &clip.Augment{Name: a.Name, Scale: [2]float64{a.ScaleMin, a.ScaleMax},
			Ratio: [2]float64{a.RatioMin, a.RatioMax}, HFlip: a.Hflip,
			ColorJitterProb: a.ColorJitterProb, Grayscale: a.Grayscale, Blur: a.Blur, BlurSigma: [2]float64{a.BlurSigmaMin, a.BlurSigmaMax},
			RandAugmentOps: int(a.RandaugmentOps), RandAugmentMagnitude: int(a.RandaugmentMagnitude)}
		copy(out.Augment.ColorJitter[:], a.ColorJitter)
	}
	if c.Cache != nil {
		out.Cache = &clip.PictureCache{Format: c.Cache.Format, MaxBytes: c.Cache.MaxBytes}
	}
	return out
}

func datasetInfoOut(i clip.DatasetInfo) *pb.DatasetInfo {
	out := &pb.DatasetInfo{Len: int64(i.Len), Digest: i.Digest, Skipped: int64(i.Skipped), Note: valid(i.Note), Fixed: i.Fixed,
		Remarks: validAll(i.Remarks), Negatives: int64(i.Negatives)}
	for _, t := range i.Targets {
		out.Targets = append(out.Targets, &pb.Target{Name: valid(t.Name), Classes: validAll(t.Classes)})
	}
	for _, n := range i.Shards {
		out.Shards = append(out.Shards, int64(n))
	}
	for _, s := range i.Skips {
		out.Skips = append(out.Skips, &pb.Skip{Reason: valid(s.Reason), Count: int64(s.Count), First: valid(s.First)})
	}
	return out
}

func datasetInfoIn(i *pb.DatasetInfo) clip.DatasetInfo {
	out := clip.DatasetInfo{Len: int(i.Len), Digest: i.Digest, Skipped: int(i.Skipped), Note: i.Note, Fixed: i.Fixed,
		Remarks: i.Remarks, Negatives: int(i.Negatives)}
	for _, t := range i.Targets {
		out.Targets = append(out.Targets, clip.Target{Name: t.Name, Classes: t.Classes})
	}
	for _, n := range i.Shards {
		out.Shards = append(out.Shards, int(n))
	}
	for _, s := range i.Skips {
		out.Skips = append(out.Skips, clip.Skip{Reason: s.Reason, Count: int(s.Count), First: s.First})
	}
	return out
}

func batchOut(b *clip.Batch) *pb.BatchResponse {
	out := &pb.BatchResponse{Captions: validAll(b.Captions), Keys: validAll(b.Keys), Groups: b.Groups}
	for _, all := range b.All {
		out.All = append(out.All, &pb.Strings{Values: validAll(all)})
	}
	for _, s := range b.Sizes {
		out.Widths, out.Heights = append(out.Widths, int32(s[0])), append(out.Heights, int32(s[1]))
	}
	for _, texts := range b.Negatives {
		out.Negatives = append(out.Negatives, &pb.Strings{Values: validAll(texts)})
	}
	if len(b.Labels) > 0 {
		out.Labels = make(map[string]*pb.Ints, len(b.Labels))
		for name, ids := range b.Labels {
			out.Labels[valid(name)] = &pb.Ints{Values: ids}
		}
	}
	for _, f := range b.Faults {
		out.Faults = append(out.Faults, &pb.SampleFault{Index: int64(f.Index), Key: valid(f.Key), Msg: valid(f.Msg), Reason: valid(f.Reason)})
	}
	return out
}

func batchIn(b *pb.BatchResponse) *clip.Batch {
	out := &clip.Batch{Captions: b.Captions, Keys: b.Keys, Groups: b.Groups}
	for _, all := range b.All {
		out.All = append(out.All, all.Values)
	}
	for i, w := range b.Widths {
		out.Sizes = append(out.Sizes, [2]int{int(w), int(b.Heights[i])})
	}
	for _, texts := range b.Negatives {
		out.Negatives = append(out.Negatives, texts.GetValues())
	}
	if len(b.Labels) > 0 {
		out.Labels = make(map[string][]int32, len(b.Labels))
		for name, ids := range b.Labels {
			out.Labels[name] = ids.GetValues()
		}
	}
	for _, f := range b.Faults {
		out.Faults = append(out.Faults, clip.SampleFault{Index: int(f.Index), Key: f.Key, Msg: f.Msg, Reason: f.Reason})
	}
	return out
}

func lossResultOut(r *clip.LossResult) *pb.LossResponse {
	out := &pb.LossResponse{Value: r.Value, Parts: validKeys(r.Parts), Scalars: validKeys(r.Scalars)}
	if len(r.PerSample) > 0 {
		out.PerSample = make(map[string]*pb.Floats, len(r.PerSample))
		for name, values := range r.PerSample {
			out.PerSample[valid(name)] = &pb.Floats{Values: values}
		}
	}
	return out
}

func lossResultIn(r *pb.LossResponse) *clip.LossResult {
	out := &clip.LossResult{Value: r.Value, Parts: r.Parts, Scalars: r.Scalars}
	if len(r.PerSample) > 0 {
		out.PerSample = make(map[string][]float32, len(r.PerSample))
		for name, values := range r.PerSample {
			out.PerSample[name] = values.GetValues()
		}
	}
	return out
}

func validKeys(m map[string]float64) map[string]float64 {
	for k := range m {
		if valid(k) != k {
			out := make(map[string]float64, len(m))
			for k, v := range m {
				out[valid(k)] = v
			}
			return out
		}
	}
	return m
}
