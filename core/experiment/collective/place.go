package collective

import (
	"context"
	"fmt"
	"strings"
)

// Place tells where a rank runs.
type Place struct {
	Host string
	CPUs []int // that it may run on, by their numbers
}

// Places returns where every rank runs.
func Places(ctx context.Context, g Group) ([]Place, error) {
	return GatherValues(ctx, g, Place{Host: Host(), CPUs: cpus()})
}

// Cores returns how many cores each rank may compute with so that none is shared: the ranks of a host divide those that any of them
// may run on. It is the same for all ranks, that of the rank with the least, and at least 1; of no places it is 0.
func Cores(places []Place) int {
	least := 0
	for _, p := range places {
		ranks, all := 0, map[int]bool{}
		for _, o := range places {
			if o.Host == p.Host {
				ranks++
				for _, c := range o.CPUs {
					all[c] = true
				}
			}
		}
		n := max(1, min(len(p.CPUs), len(all)/ranks))
		if least == 0 || n < least {
			least = n
		}
	}
	return least
}

// Hosts says which hosts the ranks run on, in the order of ranks: "a (2 ranks), b (2 ranks)".
func Hosts(places []Place) string {
	var order []string
	ranks := map[string]int{}
	for _, p := range places {
		if ranks[p.Host]++; ranks[p.Host] == 1 {
			order = append(order, p.Host)
		}
	}
	for i, host := range order {
		order[i] = fmt.Sprintf("%s (%d rank", host, ranks[host])
		if ranks[host] > 1 {
			order[i] += "s"
		}
		order[i] += ")"
	}
	return strings.Join(order, ", ")
}
