package task

// vainest is how many trials in a row that are not to be had end a walk at least.
const vainest = 256

// Walk visits trials in the order in which a task, with its place among all tasks, tries to take them: its own equal part of all
// first, then those behind, around the end to the first. It ends when visit does not go on, and when 256 in a row were not had,
// or two tasks' parts where those are more.
func Walk(trials, index, tasks int, visit func(trial int) (had, goOn bool, err error)) error {
	tasks = max(1, tasks)
	first := (index % tasks) * trials / tasks
	most := max(vainest, 2*(trials/tasks+1))
	for k, vain := 0, 0; k < trials && vain < most; k++ {
		had, goOn, err := visit((first + k) % trials)
		if err != nil || !goOn {
			return err
		}
		if vain++; had {
			vain = 0
		}
	}
	return nil
}
