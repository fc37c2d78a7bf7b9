package assemble

import (
	"context"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/experiment/objective"
	"tandem/core/experiment/spec"
	"tandem/core/plugin/process"
)

// LossRoles lists the roles of a spec's losses: RoleLoss of one that is alone, else RoleLoss, a dot and the loss's name.
func LossRoles(s *spec.Spec) []string {
	if len(s.Losses) <= 1 {
		return []string{RoleLoss}
	}
	roles := make([]string, len(s.Losses))
	for i, l := range s.Losses {
		roles[i] = RoleLoss + "." + l.Name
	}
	return roles
}

// IsLoss reports whether a role is that of a loss.
func IsLoss(role string) bool { return role == RoleLoss || strings.HasPrefix(role, RoleLoss+".") }

// lossOf returns the loss of a role; the zero value when there is none.
func lossOf(s *spec.Spec, role string) spec.Loss {
	if i := slices.Index(LossRoles(s), role); i >= 0 && i < len(s.Losses) {
		return s.Losses[i]
	}
	return spec.Loss{}
}

// section returns the place of a computing role in the spec.
func section(s *spec.Spec, role string) string {
	if i := slices.Index(LossRoles(s), role); i >= 0 {
		return s.LossSection(i)
	}
	return role
}

// lossProcess holds a loss that was started, and once it is configured what it says of itself.
type lossProcess struct {
	role    string
	loss    clip.Loss
	process *process.Process
	info    clip.LossInfo
}

// inputs lists what the loss takes beside image and text.
func (l *lossProcess) inputs() []string { return l.process.Descriptor.Inputs }

func (l *lossProcess) wants(input string) bool { return slices.Contains(l.inputs(), input) }

// joinLosses makes the objective of the losses that were started, and notes what it takes.
func (m *Model) joinLosses() {
	m.Inputs = nil
	members := make([]objective.Member, len(m.losses))
	for i, l := range m.losses {
		m.Processes[l.role] = l.process
		members[i] = objective.Member{Name: m.Spec.Losses[i].Name, Weight: m.Spec.Losses[i].Weight, Loss: l.loss, Inputs: l.inputs()}
		for _, input := range l.inputs() {
			if !m.wants(input) {
				m.Inputs = append(m.Inputs, input)
			}
		}
	}
	m.Loss = members[0].Loss
	if len(members) > 1 {
		m.Loss = objective.Add(members, ParallelTowers(m.Spec, m.threads))
	}
}

// takers names the plugins of the losses that take an input.
func (m *Model) takers(input string) string {
	var names []string
	for _, l := range m.losses {
		if l.wants(input) {
			names = append(names, l.process.Name())
		}
	}
	return strings.Join(names, ", ")
}

// lossConfig returns the configuration of the loss of a role, with so many negatives where it takes any.
func (m *Model) lossConfig(role string, negatives int) clip.LossConfig {
	s := m.Spec
	c := clip.LossConfig{With: lossOf(s, role).With, EmbedDim: s.EmbedDim, BatchSize: s.Train.BatchSize, Seed: s.Seed,
		Optimizer: s.Train.ClipOptimizer(), Compute: computeFor(s, role, m.threads)}
	inputs := m.Processes[role].Descriptor.Inputs
	if slices.Contains(inputs, clip.InputTextNegatives) {
		c.Negatives = negatives
	}
	if t := s.Teacher; t != nil && slices.Contains(inputs, clip.InputTeacherImage) {
		c.TeacherImageDim = t.EmbedDim
	}
	if t := s.Teacher; t != nil && slices.Contains(inputs, clip.InputTeacherText) {
		c.TeacherTextDim = t.EmbedDim
	}
	return c
}

// configureLosses returns the calls that configure the losses: those that say how many negatives they get once the data
// is open, and those before.
func (m *Model) configureLosses(memory map[string]int64) (early, late []func(context.Context) error) {
	for i := range m.losses {
		l := &m.losses[i]
		call := func(ctx context.Context) (err error) {
			c := m.lossConfig(l.role, m.Negatives)
			c.Compute.MemoryLimit = memory[l.role]
			l.info, err = l.loss.Configure(ctx, c)
			return Place(m.Spec, err, section(m.Spec, l.role))
		}
		if l.wants(clip.InputTextNegatives) {
			late = append(late, call)
		} else {
			early = append(early, call)
		}
	}
	return early, late
}

// describeLosses fills in what the summary says of the losses.
func (m *Model) describeLosses() {
	m.Summary.Loss, m.Summary.Losses = clip.LossInfo{}, nil
	var backends []string
	for _, l := range m.losses {
		m.Summary.Loss.Parameters += l.info.Parameters
		m.Summary.Loss.Pins = m.Summary.Loss.Pins || l.info.Pins
		if !slices.Contains(backends, l.info.Backend) {
			backends = append(backends, l.info.Backend)
		}
		if len(m.losses) > 1 {
			if m.Summary.Losses == nil {
				m.Summary.Losses = map[string]clip.LossInfo{}
			}
			m.Summary.Losses[l.role] = l.info
		}
	}
	m.Summary.Loss.Backend = strings.Join(backends, ", ")
}
