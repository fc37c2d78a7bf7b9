package assemble

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

// teachers lists the roles of a spec's teachers.
func teachers(s *spec.Spec) (roles []string) {
	for _, role := range []string{RoleTeacherImage, RoleTeacherText} {
		if s.Teacher.Tower(modalityOf(role)) != nil {
			roles = append(roles, role)
		}
	}
	return roles
}

// teacher returns the place of a role's teacher among the parts.
func (m *Model) teacher(role string) *clip.Encoder {
	if role == RoleTeacherText {
		return &m.Teachers[1]
	}
	return &m.Teachers[0]
}

// teacherConfig returns the configuration of a teacher, without captions. It is frozen where the encoder can be, so
// that it keeps no gradients and no optimiser state; it is never trained in any case.
func (m *Model) teacherConfig(role string) clip.EncoderConfig {
	c := encoderConfig(m.Spec, role, m.threads)
	c.EmbedDim, c.Optimizer = m.Spec.Teacher.EmbedDim, m.Spec.Train.ClipOptimizer()
	c.Freeze.All = hasCapability(m.Processes[role].Descriptor, clip.CapFreeze)
	return c
}

// configureTeacher returns the call that configures a teacher; memory limits what it may take of a GPU. A text
// encoder that learns its vocabulary learns it from the training data where no weights bring it.
func (m *Model) configureTeacher(role string, memory int64) func(context.Context) error {
	return func(ctx context.Context) error {
		c := m.teacherConfig(role)
		c.Compute.MemoryLimit = memory
		if hasCapability(m.Processes[role].Descriptor, clip.CapVocabulary) && c.Modality == clip.Text && !isTaught(m.Spec, role) {
			var err error
			if c.Captions, err = m.Data.Captions(ctx, 0); err != nil {
				return Place(m.Spec, err, RoleData)
			}
		}
		info, err := (*m.teacher(role)).Configure(ctx, c)
		if err != nil {
			return Place(m.Spec, err, role)
		}
		if err := checkTower(role, info, c.Modality, c.EmbedDim); err != nil {
			return err
		}
		m.told.Lock()
		defer m.told.Unlock()
		if m.Summary.Teachers == nil {
			m.Summary.Teachers = map[string]clip.EncoderInfo{}
		}
		m.Summary.Teachers[role] = info
		if want := m.Summary.Image.ImageSize; c.Modality == clip.Image && info.ImageSize != want {
			return locate(m.Spec, role+".with", fault.New(fault.Invalid, "the teacher takes pictures of %d pixels, and the model's image tower of %d", info.ImageSize, want).
				WithHint("both see the same pictures: give both one size (image_size: %d)", want))
		}
		return nil
	}
}

// isTaught reports whether a teacher takes teacher.init.weights.
func isTaught(s *spec.Spec, role string) bool {
	return s.Teacher.Init.Weights != "" && slices.Contains(s.Teacher.Init.Towers, string(modalityOf(role)))
}

// teach gives the teachers their weights, also in a run that goes on: checkpoints do not have them. It remarks on
// teachers that get none.
func (m *Model) teach(ctx context.Context, w Watcher) error {
	s := m.Spec
	for _, role := range teachers(s) {
		if !isTaught(s, role) {
			m.Remarks = append(m.Remarks, fmt.Sprintf("%s takes no teacher.init.weights: its parameters are random unless its own settings name some", role))
		}
	}
	if s.Teacher == nil || s.Teacher.Init.Weights == "" {
		return nil
	}
	init := s.Teacher.Init
	sha, err := WeightsDigest(init.Weights)
	if err != nil {
		return ofTeacher(err)
	}
	m.teacherDigest = fmt.Sprintf("%s %v", sha, init.Towers)
	w.Doing("loading " + init.Weights)
	pupil := learner{spec: s, section: "teacher.", image: m.Teachers[0], text: m.Teachers[1]}
	remarks, err := pupil.initialise(ctx, init.Weights, init.Towers)
	for _, r := range remarks {
		m.Remarks = append(m.Remarks, "of the teacher: "+r)
	}
	return err
}

// ofTeacher names the teacher's key in a fault of reading weights.
func ofTeacher(err error) error {
	if f, ok := err.(*fault.Error); ok && f.Path == "init.weights" {
		f.Path = "teacher.init.weights"
	}
	return err
}

// wants reports whether the loss takes an input beside image and text.
func (m *Model) wants(input string) bool { return slices.Contains(m.Inputs, input) }

// forwards counts how many samples a tower embeds for each sample of a batch.
func (m *Model) forwards(role string) int {
	switch {
	case role == RoleImage && m.wants(clip.InputImageView2):
		return 2
	case role == RoleText && m.wants(clip.InputTextNegatives):
		return 1 + plannedNegatives(m.Spec)
	}
	return 1
}

// plannedNegatives tells how many negatives a sample will have by the setting negatives of the training data, a number
// or a list, before the data says so itself; at least 1.
func plannedNegatives(s *spec.Spec) int {
	var with struct {
		Negatives any `json:"negatives"`
	}
	_ = json.Unmarshal(s.Data.Train[0].With, &with) // what cannot be read is not planned with
	switch v := with.Negatives.(type) {
	case float64:
		return max(1, int(v))
	case []any:
		return max(1, len(v))
	}
	return 1
}

// checkInputs holds the data that was opened against what the loss takes of it.
func (m *Model) checkInputs() error {
	data := m.dataNames()
	m.Negatives = 0
	if m.wants(clip.InputTextNegatives) {
		if m.Negatives = m.Summary.Data.Negatives; m.Negatives < 1 {
			for i, src := range m.Summary.Sources {
				if n := m.Summary.Sources[0].Info.Negatives; src.Info.Negatives != n {
					return locate(m.Spec, m.Spec.TrainSection(i)+".with", fault.New(fault.Invalid, "%s gives each sample %d negatives, and %s gives %d; %s takes as many of every sample",
						src.Name, src.Info.Negatives, m.Summary.Sources[0].Name, n, m.takers(clip.InputTextNegatives)).WithHint("give the sources settings with equal numbers of negatives"))
				}
			}
			return locate(m.Spec, RoleData+".with", fault.New(fault.Invalid, "%s gives no negatives with these settings, and %s takes %s", data, m.takers(clip.InputTextNegatives), clip.InputTextNegatives).
				WithHint("runner plugin describe %s lists its settings", data))
		}
	}
	if m.wants(clip.InputImageView2) && m.Summary.Data.Fixed {
		return locate(m.Spec, RoleData+".augment", fault.New(fault.Invalid, "%s takes %s, and with this every view of a picture is the same", m.takers(clip.InputImageView2), clip.InputImageView2).
			WithHint("augment: random_resized_crop, or a random setting of %s", data))
	}
	return nil
}
