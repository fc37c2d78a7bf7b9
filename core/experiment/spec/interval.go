package spec

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Interval holds a number of steps or of epochs; both zero means never.
type Interval struct {
	Steps  int
	Epochs float64
}

// ParseInterval reads "200", "200 steps", "1 epoch" or "0.5 epochs".
func ParseInterval(text string) (Interval, error) {
	words := strings.Fields(text)
	if len(words) == 1 {
		words = append(words, "steps")
	}
	if len(words) == 2 {
		switch strings.TrimSuffix(words[1], "s") {
		case "step":
			if n, err := strconv.Atoi(words[0]); err == nil && n >= 0 {
				return Interval{Steps: n}, nil
			}
		case "epoch":
			if f, err := strconv.ParseFloat(words[0], 64); err == nil && f >= 0 && f < 1e9 {
				return Interval{Epochs: f}, nil
			}
		}
	}
	return Interval{}, fmt.Errorf("%q is not a number of steps or epochs", text)
}

// In returns the interval in steps, at least 1, given the steps of an epoch; 0 for never.
func (i Interval) In(stepsPerEpoch int) int {
	if i.Epochs > 0 {
		return max(1, int(i.Epochs*float64(stepsPerEpoch)+0.5))
	}
	return i.Steps
}

// String returns the canonical text: "200" or "1 epoch".
func (i Interval) String() string {
	if i.Epochs == 1 {
		return "1 epoch"
	}
	if i.Epochs > 0 {
		return strconv.FormatFloat(i.Epochs, 'g', -1, 64) + " epochs"
	}
	return strconv.Itoa(i.Steps)
}

// canonical returns the value in a resolved tree: a number of steps, or a text.
func (i Interval) canonical() any {
	if i.Epochs > 0 {
		return i.String()
	}
	return int64(i.Steps)
}

// MarshalJSON writes a number of steps or a text.
func (i Interval) MarshalJSON() ([]byte, error) { return json.Marshal(i.canonical()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (i *Interval) UnmarshalJSON(data []byte) error {
	text := string(data)
	if data[0] == '"' {
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
	}
	v, err := ParseInterval(text)
	*i = v
	return err
}
