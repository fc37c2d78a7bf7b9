package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/engine/device/devices"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

// driverBytes is what the driver and its libraries take of a GPU for each process, beside what the process
// allocates: about half a gigabyte.
const driverBytes = 512 << 20

// scratchBytes is what each process gets first of what is left: kernels work with memory that no plan knows
// of.
const scratchBytes = 512 << 20

// onGPU says whether a part will compute on hardware with memory of its own.
func onGPU(s *spec.Spec, role string) bool {
	resolved, _ := devices.Resolve(deviceOf(s, role))
	return strings.HasPrefix(resolved, "cuda")
}

// budgets asks the parts that compute on GPUs what they will need, and says how much of its GPU's memory each
// may take, by role. What cannot fit is fault.Exhausted, before anything is allocated.
func (m *model) budgets(ctx context.Context, limits map[string]int) (map[string]int64, error) {
	s := m.spec
	evalBatch := 0
	for _, e := range s.Eval {
		evalBatch = max(evalBatch, e.BatchSize)
	}
	known := map[string]clip.Plan{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for _, role := range computing {
		if !onGPU(s, role) {
			continue
		}
		q := clip.PlanRequest{Batch: s.Train.MicroBatchSize, EvalBatch: evalBatch, Accumulate: s.Train.MicroBatchSize < s.Train.BatchSize}
		switch role {
		case roleLoss:
			c := lossConfig(s, limits)
			q.Loss = &c
		default:
			c := encoderConfig(s, role, limits)
			q.Encoder = &c
		}
		p := m.byRole[role]
		g.Go(fault.Safely(func() error {
			f, err := p.Plan(ctx, q)
			if err != nil || f == nil || f.Total == 0 {
				return place(s, err, role)
			}
			mu.Lock()
			defer mu.Unlock()
			known[role] = *f
			return nil
		}))
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return share(s, known)
}

// share gives each part of a GPU what it needs at most, of the rest some for scratch, and what is left then in
// proportion. Where not all of that is there, each gets what it needs at least, some for scratch, and what is left
// in proportion to what it lacks.
func share(s *spec.Spec, needs map[string]clip.Plan) (map[string]int64, error) {
	byDevice := map[string][]string{}
	for _, role := range slices.Sorted(maps.Keys(needs)) {
		d := needs[role].Device
		byDevice[d] = append(byDevice[d], role)
	}
	limits := map[string]int64{}
	for _, device := range slices.Sorted(maps.Keys(byDevice)) {
		roles := byDevice[device]
		free, total, least, most := needs[roles[0]].Free, needs[roles[0]].Total, int64(0), int64(0)
		for _, role := range roles {
			f := needs[role]
			free, least, most = min(free, f.Free), least+f.Least, most+max(f.Needed(), f.Least)
		}
		budget := budget(s.DeviceMemory, free, total, len(roles))
		if least > budget {
			return nil, tooLarge(s, device, roles, needs, least, budget, free)
		}
		n := int64(len(roles))
		for _, role := range roles {
			low := needs[role].Least
			high := max(needs[role].Needed(), low)
			base, part, whole, rest := high, high, most, budget-most
			if rest < 0 {
				base, part, whole, rest = low, high-low, most-least, budget-least
			}
			even := min(rest, n*scratchBytes)
			limits[role] = base + even/n + portion(rest-even, part, whole)
		}
	}
	return limits, nil
}

// portion is amount·part/whole.
func portion(amount, part, whole int64) int64 {
	if whole == 0 {
		return 0
	}
	return int64(float64(amount) * (float64(part) / float64(whole)))
}

// budget is what so many processes may take of a GPU's memory.
func budget(m spec.Memory, free, total int64, processes int) int64 {
	switch {
	case m.Bytes > 0:
		return min(m.Bytes, free)
	case m.Share > 0:
		return min(int64(m.Share*float64(total)), free)
	}
	return free - min(int64(processes)*driverBytes, free/10)
}

func tooLarge(s *spec.Spec, device string, roles []string, needs map[string]clip.Plan, least, budget, free int64) error {
	var plan strings.Builder
	for _, role := range roles {
		f := needs[role]
		plan.WriteString(clip.FormatMemory(fmt.Sprintf("%s, at least %s of", role, clip.FormatBytes(f.Least)), f.Parts))
	}
	key := s.DeviceKey(roles[0])
	limited := ""
	if s.DeviceMemory != (spec.Memory{}) {
		key, limited = "device_memory", fmt.Sprintf(", of which %s may be taken", clip.FormatBytes(budget))
	}
	err := fault.New(fault.Exhausted, "a training step takes at least %s of the memory of %s, and %s of %s are free%s",
		clip.FormatBytes(least), device, clip.FormatBytes(free), clip.FormatBytes(needs[roles[0]].Total), limited).WithDetail(plan.String()).
		WithHint("%s", remedies(s, roles))
	return locate(s, key, err)
}

// remedies are what is left to do about too little memory.
func remedies(s *spec.Spec, roles []string) string {
	var list []string
	if n := s.Train.MicroBatchSize; n > 1 {
		list = append(list, fmt.Sprintf("train.micro_batch_size: %d, whose gradient stays that of the whole batch", max(1, n/2)))
	}
	if !s.Train.ActivationCheckpointing {
		list = append(list, "train.activation_checkpointing: true")
	}
	if len(roles) > 1 {
		list = append(list, "another GPU for a tower (image.device, text.device)")
	}
	list = append(list, "a smaller model")
	return strings.Join(list, "; ")
}
