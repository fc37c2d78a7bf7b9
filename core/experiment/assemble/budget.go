package assemble

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
)

// driverBytes stays free for each process, beside what the process allocates: the driver and its libraries take
// about half a gigabyte of a GPU.
const driverBytes = 512 << 20

// scratchBytes goes to each process first of what is left: kernels work with memory that no plan knows of.
const scratchBytes = 512 << 20

// budgets asks the plugins that compute on GPUs what they will need, and returns how much of its GPU's memory
// each may take, in bytes by role. What cannot fit is fault.Exhausted, before anything is allocated.
func (m *Model) budgets(ctx context.Context) (map[string]int64, error) {
	s := m.Spec
	share, _, err := train.MicroBatch(s.Train.BatchSize, s.Train.MicroBatchSize, m.ranks)
	if err != nil {
		return nil, err
	}
	evalBatch := 0
	for _, e := range s.Eval {
		evalBatch = max(evalBatch, e.BatchSize)
	}
	known := map[string]clip.Plan{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for _, role := range Computing(s) {
		if GPU(s, role) == "" {
			continue
		}
		q := clip.PlanRequest{Batch: share, EvalBatch: evalBatch, Accumulate: share < s.Train.BatchSize/m.ranks}
		switch {
		case IsLoss(role):
			c := m.lossConfig(role, plannedNegatives(s))
			q.Loss = &c
		case role == RoleTeacherImage || role == RoleTeacherText:
			c := m.teacherConfig(role)
			q.Encoder, q.EvalBatch, q.Accumulate = &c, q.Batch, false
		default:
			c := m.towerConfig(role)
			q.Encoder = &c
			q.Batch *= m.forwards(role)
			if role == RoleImage && m.syncsNorm(role) {
				q.Parts, q.Accumulate = s.Train.BatchSize/m.ranks/share, false
			}
			q.Tokens = role == RoleImage && m.wants(clip.InputImageTokens) || role == RoleText && m.wants(clip.InputTextTokens)
		}
		p := m.Processes[role]
		g.Go(fault.Safely(func() error {
			f, err := p.Plan(ctx, q)
			if err != nil || f == nil || f.Total == 0 {
				return Place(s, err, section(s, role))
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
	return splitMemory(s, known, m.together != nil)
}

// splitMemory divides the memory of each GPU among the plugins that compute there. Where there is enough, each
// gets what it needs at most, some for scratch, and a part of the rest in proportion. Where there is not, each
// gets what it needs at least, some for scratch, and a part of the rest in proportion to what it lacks.
// together says that one process serves the towers and losses.
func splitMemory(s *spec.Spec, needs map[string]clip.Plan, together bool) (map[string]int64, error) {
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
		budget := deviceBudget(s.DeviceMemory, free, total, processesOf(roles, together))
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
			scratch := min(rest, n*scratchBytes)
			limits[role] = base + scratch/n + proportion(rest-scratch, part, whole)
		}
	}
	return limits, nil
}

// processesOf returns how many processes serve roles.
func processesOf(roles []string, together bool) (n int) {
	one := false
	for _, role := range roles {
		if together && role != RoleTeacherImage && role != RoleTeacherText {
			one = true
		} else {
			n++
		}
	}
	if one {
		n++
	}
	return n
}

// proportion returns amount·part/whole, 0 of an empty whole.
func proportion(amount, part, whole int64) int64 {
	if whole == 0 {
		return 0
	}
	return int64(float64(amount) * (float64(part) / float64(whole)))
}

// deviceBudget returns how many bytes so many processes may take together of a GPU's memory.
func deviceBudget(m spec.Memory, free, total int64, processes int) int64 {
	switch {
	case m.Bytes > 0:
		return min(m.Bytes, free)
	case m.Share > 0:
		return min(int64(m.Share*float64(total)), free)
	}
	return free - min(int64(processes)*driverBytes, free/10)
}

// tooLarge reports that the least that a training step takes is not there, with the plan of each plugin.
func tooLarge(s *spec.Spec, device string, roles []string, needs map[string]clip.Plan, least, budget, free int64) error {
	var plan strings.Builder
	for _, role := range roles {
		f := needs[role]
		plan.WriteString(clip.FormatMemory(fmt.Sprintf("%s, at least %s of", role, clip.FormatBytes(f.Least)), f.Parts))
	}
	key := s.DeviceKey(section(s, roles[0]))
	limited := ""
	if s.DeviceMemory != (spec.Memory{}) {
		key, limited = "device_memory", fmt.Sprintf(", of which %s may be taken", clip.FormatBytes(budget))
	}
	err := fault.New(fault.Exhausted, "a training step takes at least %s of the memory of %s, and %s of %s are free%s",
		clip.FormatBytes(least), device, clip.FormatBytes(free), clip.FormatBytes(needs[roles[0]].Total), limited).WithDetail(plan.String()).
		WithHint("%s", remedies(s, roles))
	return locate(s, key, err)
}

// remedies lists what a user can do about too little memory.
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
