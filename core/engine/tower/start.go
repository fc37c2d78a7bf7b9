package tower

// phase returns the step that stands for a step, both counted from 0: the latest up to it at which parameters start. So
// there are as many programs for training as there are different starts.
func (p *params) phase(step int) (latest int) {
	for _, s := range p.segments {
		if s.Start <= step {
			latest = max(latest, s.Start)
		}
	}
	return latest
}

// trainedAt returns the names of the parameters that a step trains, step counting from 0.
func (p *params) trainedAt(step int) map[string]bool {
	names := map[string]bool{}
	for _, q := range p.set.Params() {
		if q.Trained(step) {
			names[q.Name] = true
		}
	}
	return names
}

// waits reports whether a step leaves parameters as they are that later ones train, step counting from 0.
func (p *params) waits(step int) bool {
	for _, s := range p.segments {
		if s.Start > step {
			return true
		}
	}
	return false
}
