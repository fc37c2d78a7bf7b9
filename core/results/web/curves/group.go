package curves

import (
	"strings"

	"tandem/core/results/metric"
)

// Group is the charts of metrics with one beginning: train, eval/emoji.
type Group struct {
	Name   string
	Shared []Shared
}

// Shared is the metrics that one chart shows.
type Shared struct {
	Title   string
	Metrics []string
}

// mostLines limits the lines of a chart.
const mostLines = 8

// Groups puts metrics, which come in the order of metric.Names, into charts. Training comes first, and in each group what tells most.
func Groups(names []string) []Group {
	var groups []Group
	find := func(name string) *Group {
		for i := range groups {
			if groups[i].Name == name {
				return &groups[i]
			}
		}
		groups = append(groups, Group{Name: name})
		return &groups[len(groups)-1]
	}
	for rank := range 4 {
		for _, name := range names {
			if rankOf(name) == rank {
				group, title := place(name)
				find(group).add(title, name)
			}
		}
	}
	return groups
}

// rankOf orders metrics on a page.
func rankOf(name string) int {
	switch {
	case name == metric.TrainLoss:
		return 0
	case metric.IsTelling(name):
		return 1
	case strings.Contains(name, "captions_cut"):
		return 3
	}
	return 2
}

func (g *Group) add(title, name string) {
	for i := range g.Shared {
		if s := &g.Shared[i]; s.Title == title && len(s.Metrics) < mostLines {
			s.Metrics = append(s.Metrics, name)
			return
		}
	}
	g.Shared = append(g.Shared, Shared{title, []string{name}})
}

// ways and measures begin the names of evaluations' figures that belong together.
var (
	ways     = []string{metric.ImageToText, metric.TextToImage}
	measures = []string{metric.LinearProbe, metric.Nearest, metric.FewShot, metric.Robustness, metric.Calibrated, metric.Choices}
)

// place returns the group of a metric, and the title of its chart, which those share that belong on it.
func place(name string) (group, title string) {
	last, unit := metric.Measure(name), metric.UnitOf(name)
	by, ok := metric.Evaluation(name)
	if !ok {
		return placeTraining(name, last, unit)
	}
	group = metric.Evaluated(metric.Live(by), "")
	group = group[:len(group)-1]
	for _, way := range ways {
		if rest, ok := strings.CutPrefix(last, way+"_"); ok {
			switch way = strings.ReplaceAll(way, "_", " "); {
			case strings.HasPrefix(rest, "R@"):
				return group, way + ", recall"
			case strings.Contains(rest, "rank"):
				return group, way + ", rank"
			}
			return group, way
		}
	}
	for _, m := range measures {
		if strings.HasPrefix(last, m+"_") {
			return group, strings.ReplaceAll(m, "_", " ") + kind(unit, last)
		}
	}
	if unit == metric.Share {
		return group, "shares that are right"
	}
	return group, last
}

func placeTraining(name, last string, unit metric.Unit) (group, title string) {
	group, rest, ok := strings.Cut(name, "/")
	if !ok {
		return "others", name
	}
	switch {
	case last == metric.Measure(metric.LogitScale):
		return group, last
	case unit == metric.Milliseconds:
		return group, "time of a step"
	}
	family, _, _ := strings.Cut(rest, "/")
	return group, family
}

// kind tells apart figures of one measure that have different units.
func kind(unit metric.Unit, last string) string {
	if unit == metric.Share {
		return ""
	}
	return ", " + last
}
