//go:build clipcuda

package driver

// #include "lt.h"
import "C"

import (
	"strconv"
	"sync"
	"time"

	"tandem/core/fault"
)

// mostTries bounds TANDEM_CUBLASLT_TRIES.
const mostTries = C.TANDEM_LT_MOST - 1

// triesOf reads TANDEM_CUBLASLT_TRIES: how many algorithms are timed for every form; "" or 1: none.
func triesOf(text string) (int, error) {
	if text == "" {
		return 1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > mostTries {
		return 0, fault.New(fault.Invalid, "TANDEM_CUBLASLT_TRIES is %q", text).WithHint("a number from 1 to %d; 1 times nothing", mostTries)
	}
	return n, nil
}

// choices keeps what choose found, for all handles of the process: towers of one form have one algorithm.
var choices = struct {
	sync.Mutex
	of map[choice]int
}{of: map[choice]int{}}

type choice struct {
	device int
	form   form
}

// choose times the algorithms of a plan with the operands of its first product and keeps the fastest. It does nothing
// unless TANDEM_CUBLASLT_TRIES is more than 1: another run may choose another, whose sums differ in their last bits.
func (l *Lt) choose(p *plan, f Fused) error {
	if l.tries < 2 || p.lt.count < 2 || f.Beta != 0 && (f.Residual == 0 || f.Residual == f.C) { // which adds up when it is repeated
		return nil
	}
	key, _ := formOf(&f)
	choices.Lock()
	defer choices.Unlock()
	at := choice{l.c.properties.handle, key}
	if chosen, ok := choices.of[at]; ok && chosen < int(p.lt.count) {
		p.chosen = chosen
		return nil
	}
	best := time.Duration(0)
	for i := range int(p.lt.count) {
		took, err := l.time(p, f, i)
		if err != nil {
			return err
		}
		if i == 0 || took < best {
			best, p.chosen = took, i
		}
	}
	choices.of[at] = p.chosen
	return nil
}

// time returns what a product takes on the device, after one that loads its code.
func (l *Lt) time(p *plan, f Fused, which int) (took time.Duration, err error) {
	const products = 3
	var marks [2]*Event
	for i := range marks {
		if marks[i], err = l.c.NewEvent(true); err != nil {
			return 0, err
		}
		defer marks[i].Destroy()
	}
	for i := range 1 + products {
		if i == 1 {
			if err := marks[0].Record(l.s); err != nil {
				return 0, err
			}
		}
		if err := l.run(p, f, which); err != nil {
			return 0, l.s.blame(err)
		}
	}
	if err := marks[1].Record(l.s); err != nil {
		return 0, err
	}
	if err := marks[1].Synchronize(); err != nil {
		return 0, l.s.blame(err)
	}
	return marks[1].Since(marks[0])
}
