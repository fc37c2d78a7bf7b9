package object

import (
	"context"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Settings holds the options of data that may lie in stores; embed it in the config of a dataset (sdk.Schema).
type Settings struct {
	CacheSize string `with:"cache_size" help:"most bytes of remote data that are kept on this machine, for all runs together: 20 GiB, 500 MB; 0: none are"`
	Patience  string `with:"patience" help:"how long a store is waited for that does not answer: 5 min, 90 s"`
}

// DefaultSettings holds the values of keys that are not given. The patience is less than what a batch may take
// (timeouts.batch), so that it is the store that is named.
var DefaultSettings = Settings{CacheSize: "20 GiB", Patience: "5 min"}

// Open returns the Store of a dataset. It lives until it is closed, not only as long as the call that opens it.
func (s Settings) Open(c clip.DatasetConfig) (*Store, error) {
	o := Options{}
	var ok bool
	if o.CacheBytes, ok = parseBytes(s.CacheSize); !ok {
		return nil, fault.New(fault.Invalid, "%q is no number of bytes", s.CacheSize).WithPath("with.cache_size").WithHint("write 20 GiB, 500 MB or 0")
	}
	if o.Patience, ok = parseSpan(s.Patience); !ok {
		return nil, fault.New(fault.Invalid, "%q is no time", s.Patience).WithPath("with.patience").WithHint("write 5 min, 90 s or 1 h")
	}
	if c.CacheDir != "" && o.CacheBytes > 0 {
		o.CacheDir = filepath.Join(c.CacheDir, "objects")
	}
	return New(context.Background(), o)
}

// parseNumber reads a number with a unit; text without any has the unit "".
func parseNumber(text string, units map[string]float64) (float64, bool) {
	text = strings.TrimSpace(text)
	at := len(strings.TrimRightFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' }))
	n, err := strconv.ParseFloat(text[:at], 64)
	unit, ok := units[strings.ToLower(strings.TrimSpace(text[at:]))]
	n *= unit
	return n, err == nil && ok && n >= 0 && n < 1<<60
}

func parseBytes(text string) (int64, bool) {
	n, ok := parseNumber(text, map[string]float64{"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40})
	return int64(math.Round(n)), ok
}

func parseSpan(text string) (time.Duration, bool) {
	n, ok := parseNumber(text, map[string]float64{"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600})
	return time.Duration(n * float64(time.Second)), ok && n > 0 && n <= 366*24*3600
}
