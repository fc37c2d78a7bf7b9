package assemble

import (
	"context"
	"fmt"
	"strings"

	"tandem/core/clip"
	"tandem/core/experiment/mixture"
	"tandem/core/experiment/spec"
)

// Source describes a source of the training data, as its plugin does.
type Source struct {
	Name string // "" of one that is alone
	Role string
	Ref  string // of the plugin, as the spec names it
	Info clip.DatasetInfo
}

// DataRoles lists the roles of the sources of a spec's training data: RoleData of one that is alone, else RoleData, a dot
// and the source's name.
func DataRoles(s *spec.Spec) []string {
	if len(s.Data.Train) <= 1 {
		return []string{RoleData}
	}
	roles := make([]string, len(s.Data.Train))
	for i, t := range s.Data.Train {
		roles[i] = RoleData + "." + t.Name
	}
	return roles
}

// IsTrainingData reports whether a role is that of training data.
func IsTrainingData(role string) bool {
	return role == RoleData || strings.HasPrefix(role, RoleData+".")
}

// sources describes configured training data.
func sources(s *spec.Spec, data []Dataset) []Source {
	out := make([]Source, len(data))
	for i, d := range data {
		out[i] = Source{Name: s.Data.Train[i].Name, Role: d.role, Ref: d.ref, Info: d.Info}
	}
	return out
}

// joined returns the training data as one dataset.
func joined(s *spec.Spec, data []Dataset) (clip.Dataset, clip.DatasetInfo) {
	if len(data) == 1 {
		return data[0].Dataset, data[0].Info
	}
	members := make([]mixture.Member, len(data))
	for i, d := range data {
		members[i] = mixture.Member{Name: s.Data.Train[i].Name, Data: d.Dataset, Info: d.Info}
	}
	all := mixture.Join(members)
	return all, all.Info()
}

// plan describes the sources for the order of samples.
func (m *Model) plan() []mixture.Source {
	out := make([]mixture.Source, len(m.Summary.Sources))
	for i, src := range m.Summary.Sources {
		t := m.Spec.Data.Train[i]
		out[i] = mixture.Source{Name: src.Name, Len: src.Info.Len, Weight: t.Weight, Quota: t.Quota,
			Shuffle: mixture.Shuffle(t.Shuffle), Shards: src.Info.Shards, Window: t.ShuffleWindow}
	}
	return out
}

// dataNames names the plugins of the training data, for messages.
func (m *Model) dataNames() string {
	var names []string
	for _, role := range DataRoles(m.Spec) {
		names = append(names, m.Processes[role].Name())
	}
	return strings.Join(names, ", ")
}

// stepsPerEpoch returns how many batches are an epoch of so many samples.
func stepsPerEpoch(s *spec.Spec, samples int) int {
	if n := s.Data.EpochSamples; n > 0 {
		return max(1, n/s.Train.BatchSize)
	}
	return samples / s.Train.BatchSize
}

// Name names the plugin of a dataset, or those of a mixture.
func (d *Dataset) Name() string {
	if d.Process != nil {
		return d.Process.Name()
	}
	return d.ref
}

// TrainingData starts the training data and configures it for pictures of size × size pixels. Several sources come as one
// dataset, a *mixture.Dataset.
func (x *Starter) TrainingData(ctx context.Context, size int) (*Dataset, error) {
	n := len(x.Spec.Data.Train)
	data := datasets(x.Spec, x.threads)[:n]
	for i := range data {
		if err := x.open(ctx, &data[i], size); err != nil {
			return nil, err
		}
	}
	if n == 1 {
		return &data[0], nil
	}
	var names []string
	for i, d := range data {
		names = append(names, fmt.Sprintf("%s (%s)", x.Spec.Data.Train[i].Name, d.Process.Name()))
	}
	all := Dataset{role: RoleData, section: RoleData, ref: strings.Join(names, ", ")}
	all.Dataset, all.Info = joined(x.Spec, data)
	return &all, nil
}
