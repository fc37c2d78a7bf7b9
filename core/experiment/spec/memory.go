package spec

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Memory holds an amount of a device's memory, in bytes or as a share of all; both zero means not given.
type Memory struct {
	Bytes int64
	Share float64 // (0, 1]
}

var memoryUnits = map[string]float64{"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}

// ParseMemory reads "20 GiB", "500MB" or "50%".
func ParseMemory(text string) (Memory, error) {
	bad := fmt.Errorf("%q is neither bytes nor a share", text)
	at := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if at < 0 {
		return Memory{}, bad
	}
	n, err := strconv.ParseFloat(text[:at], 64)
	unit := strings.ToLower(strings.TrimSpace(text[at:]))
	switch factor, known := memoryUnits[unit]; {
	case err != nil || n <= 0:
	case unit == "%" && n <= 100:
		return Memory{Share: n / 100}, nil
	case known && n*factor >= 1 && n*factor < 1<<60:
		return Memory{Bytes: int64(math.Round(n * factor))}, nil
	}
	return Memory{}, bad
}

// String returns the canonical text; "" when nothing is given.
func (m Memory) String() string {
	switch {
	case m.Share > 0:
		return strconv.FormatFloat(math.Round(m.Share*1e8)/1e6, 'g', -1, 64) + "%"
	case m.Bytes == 0:
		return ""
	}
	for _, unit := range []string{"GiB", "GB", "MiB", "MB"} {
		if n := int64(memoryUnits[strings.ToLower(unit)]); m.Bytes%n == 0 {
			return fmt.Sprintf("%d %s", m.Bytes/n, unit)
		}
	}
	return fmt.Sprintf("%d B", m.Bytes)
}

// UnmarshalJSON reads the canonical text.
func (m *Memory) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil || text == "" {
		return err
	}
	v, err := ParseMemory(text)
	*m = v
	return err
}

// MarshalJSON writes the canonical text.
func (m Memory) MarshalJSON() ([]byte, error) { return json.Marshal(m.String()) }

func (c *checker) memory(value any, p path) any {
	text, ok := value.(string)
	if !ok {
		return c.wrongType(p, "bytes or a share", value)
	}
	m, err := ParseMemory(text)
	if err != nil {
		c.fault(p, "%w", err).WithHint("%s", examples["bytes or a share"])
		return bad{}
	}
	return m.String()
}

// precision reports a precision that the towers' devices cannot have, where the spec alone tells so.
func (c *checker) precision(tree map[string]any) {
	if lookup(tree, path{"train", "precision"}) != "tf32" {
		return
	}
	for _, tower := range []path{{"image"}, {"text"}, {"teacher", "image"}, {"teacher", "text"}} {
		if lookup(tree, tower) == nil {
			continue
		}
		at := tower.with("device")
		device, ok := lookup(tree, at).(string)
		if !ok {
			at = path{"device"}
			device, _ = lookup(tree, at).(string)
		}
		if device == "cpu" || device == "host" {
			c.fault(path{"train", "precision"}, "tf32 is a precision of NVIDIA GPUs, and %s is %s", at, device).
				WithHint("precision: f32 or bf16; or %s: cuda:0", at)
			return
		}
	}
}
