//go:build clipcuda

package cuda

// eitherType holds the launches of a kernel whose entries know when they are compiled whether their arrays are float32 or
// bfloat16. Where arguments are of both types, those in bfloat16 are widened into scratch, and rounded from there.
type eitherType struct {
	packed             bool // there are entries for bfloat16
	half, real         []launch
	halfRoom, realRoom scratch // of these launches
	read, written      []arg
	takes              []arg // what real writes in either type, by a flag
}

// code returns the code of both.
func (e eitherType) code() code {
	flags := []any{}
	for _, list := range [][]arg{e.read, e.written, e.takes} {
		for _, i := range list {
			flags = append(flags, isHalf(i))
		}
	}
	return code{scratch: int(e.realRoom), launches: []launch{{params: flags, call: e.run}}, scratchOf: e.room}
}

// uses reports whether the launches for bfloat16 are right, and whether those for float32 are as they stand.
func (e eitherType) uses(half []bool) (allHalf, allReal bool) {
	allHalf, allReal = e.packed, true
	for n, list := range [][]arg{e.read, e.written, e.takes} {
		for _, i := range list {
			allHalf = allHalf && half[i]
			allReal = allReal && (n == 2 || !half[i])
		}
	}
	return allHalf, allReal
}

// widened returns where in scratch the arguments lie that have to be widened, and how much is taken then.
func (e eitherType) widened(half []bool, lens []int) (places map[arg]temp, room scratch) {
	places, room = map[arg]temp{}, e.realRoom
	for _, list := range [][]arg{e.read, e.written} {
		for _, i := range list {
			if half[i] {
				places[i] = room.take(4 * lens[i])
			}
		}
	}
	return places, room
}

func (e eitherType) room(half []bool, lens []int) int {
	switch allHalf, allReal := e.uses(half); {
	case allHalf:
		return int(e.halfRoom)
	case allReal:
		return int(e.realRoom)
	}
	_, room := e.widened(half, lens)
	return int(room)
}

func (e eitherType) run(c *call) error {
	allHalf, allReal := e.uses(c.half)
	list, places := e.real, map[arg]temp(nil)
	switch {
	case allHalf:
		list = e.half
	case !allReal:
		places, _ = e.widened(c.half, c.lens)
	}
	for _, i := range e.read {
		if at, ok := places[i]; ok {
			if err := c.run(convert(i, at, c.lens[i], true, false)); err != nil {
				return err
			}
		}
	}
	for _, l := range list {
		if places != nil {
			params := make([]any, len(l.params))
			for n, p := range l.params {
				params[n] = p
				if i, ok := p.(arg); ok {
					if at, ok := places[i]; ok {
						params[n] = at
					}
				}
			}
			l.params = params
		}
		if err := c.run(l); err != nil {
			return err
		}
	}
	for _, i := range e.written {
		if at, ok := places[i]; ok {
			if err := c.run(convert(at, i, c.lens[i], false, true)); err != nil {
				return err
			}
		}
	}
	return nil
}
