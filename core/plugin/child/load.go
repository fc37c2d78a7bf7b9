package child

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor times in /proc. Linux has it so on all processors that Go knows.
const tick = 10 * time.Millisecond

// Load tells what the processors have done up to a moment, those that this process may use.
type Load struct {
	at         time.Time
	all, own   time.Duration // busy time of all processors, and that of this process and its descendants
	processors int           // 0 where the system does not tell
	average    float64
}

// LoadNow reads the state of the processors.
func LoadNow() Load {
	text, _ := os.ReadFile("/proc/stat")
	l := Load{at: time.Now()}
	l.all, l.processors = busyTime(string(text), allowedProcessor)
	for pid := range descendants(os.Getpid()) {
		l.own += timeOf(statOf(pid))
	}
	average, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(average), " ")
	l.average, _ = strconv.ParseFloat(first, 64)
	return l
}

// Average returns the load average of the last minute: the processes that ran or waited for a processor.
func (l Load) Average() float64 { return l.average }

// Processors returns how many processors this process may use; 0 where the system does not tell.
func (l Load) Processors() int { return l.processors }

// OthersSince returns which share of the processors' time programs other than this process and its descendants took since
// before, from 0 to 1, the time that a hypervisor gave to other machines with them; false where the system does not tell or
// too little time has passed.
func (l Load) OthersSince(before Load) (float64, bool) {
	whole := l.at.Sub(before.at) * time.Duration(l.processors)
	if l.processors == 0 || before.processors == 0 || whole < 20*tick {
		return 0, false
	}
	others := (l.all - before.all) - (l.own - before.own)
	return min(1, max(0, others.Seconds()/whole.Seconds())), true
}

// busyTime adds up the lines "cpu0 user nice system idle iowait irq softirq steal …" of /proc/stat but for idle and iowait,
// of the processors that count.
func busyTime(stat string, counts func(processor int) bool) (sum time.Duration, processors int) {
	for line := range strings.Lines(stat) {
		fields := strings.Fields(line)
		if len(fields) < 9 || !strings.HasPrefix(fields[0], "cpu") {
			continue
		}
		n, err := strconv.Atoi(fields[0][len("cpu"):])
		if err != nil || !counts(n) { // the first line is the sum of all
			continue
		}
		processors++
		for _, i := range []int{1, 2, 3, 6, 7, 8} {
			ticks, _ := strconv.ParseInt(fields[i], 10, 64)
			sum += time.Duration(ticks) * tick
		}
	}
	return sum, processors
}

// timeOf returns the processor time of a process and of its children that it has waited for, of the fields of statOf.
func timeOf(fields []string) (sum time.Duration) {
	if len(fields) < 15 {
		return 0
	}
	for _, field := range fields[11:15] {
		ticks, _ := strconv.ParseInt(field, 10, 64)
		sum += time.Duration(ticks) * tick
	}
	return sum
}
