package spec

import (
	"encoding/json"
	"strconv"

	"tandem/core/clip"
)

// Loss names a loss plugin and its settings.
type Loss struct {
	Plugin string `json:"plugin"`
	// Name and Weight are those of a loss among several, whose sum is the objective. Of one alone the name is "" and the
	// weight 1.
	Name   string          `json:"name"`
	Weight float64         `json:"weight"`
	With   json.RawMessage `json:"with"`
	Device string          `json:"device"` // filled in
}

// lossKeys lists the keys of loss when it is a map.
var lossKeys = []Key{plugin("plugin", clip.KindLoss, "", "loss plugin"), with, where}

// addendKeys lists what an element of the list loss has beside.
var addendKeys = []Key{
	key("name", clip.TypeString, nil, "in a list: names the loss in metrics, logs and paths (`loss[NAME].weight`); the plugin's name when left out"),
	key("weight", clip.TypeFloat, 1.0, "in a list: what the loss and its gradients are multiplied by in the sum; 0: it is measured and trains nothing").min(0).max(1e9),
}

var lossKey = mixed("loss", "the objective: a map, or a list of them to add up ([sums of losses](#sums-of-losses))", lossKeys, addendKeys)

// lossSections returns the places of the losses.
func lossSections(tree map[string]any) []path { return mixedSections(tree, path{"loss"}) }

// losses checks the plugins of loss and what the losses of a sum say of each other.
func (c *checker) losses(tree map[string]any, used map[string]clip.Descriptor) {
	sections := lossSections(tree)
	first := map[string]path{}
	idle, known := 0, true
	for _, p := range sections {
		m, ok := lookup(tree, p).(map[string]any)
		if !ok {
			known = false
			continue
		}
		d := c.plugin(m, c.keyOf(p.with("plugin")), p)
		used[p.String()] = d
		if len(sections) == 1 {
			continue
		}
		c.memberName(m, "plugin", d, p, first)
		// The metrics of a loss are train/loss/NAME and train/NAME/…: those of a loss of such a name would be others' too.
		if name := m["name"]; name == "loss" || name == "grad_norm" {
			c.fault(p.with("name"), "%q is what metrics of all losses are called", name).WithHint("give it another name: its metrics are called train/loss/NAME and train/NAME/…")
		}
		if m["weight"] == 0.0 {
			idle++
		}
	}
	if known && len(sections) > 1 && idle == len(sections) {
		c.fault(path{"loss"}, "every weight is 0: nothing would be trained").WithHint("give a loss a weight above 0")
	}
}

// decodableLoss returns loss in the form of Spec.Losses' JSON: a list.
func decodableLoss(value any, device any) any {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			continue
		}
		if _, given := m["device"]; !given {
			m["device"] = device
		}
		if _, given := m["weight"]; !given {
			m["weight"] = 1.0
		}
	}
	return list
}

// LossSection returns the place of a loss in the spec.
func (s *Spec) LossSection(i int) string {
	if len(s.Losses) <= 1 {
		return "loss"
	}
	return "loss[" + strconv.Itoa(i) + "]"
}
