// Package report turns rows into what a person or a program reads: terminal tables, JSON and CSV,
// numbers with units, curves in one line.
package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tandem/core/results/metric"
)

// Count writes a whole or large number for a person: 999, 12,800, 151.28 M, 4.41 G.
func Count(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return Number(v)
	case a < 99_999.5 && v == math.Trunc(v):
		return thousands(strconv.FormatInt(int64(v), 10))
	case a < 99_999.5:
		return Number(v)
	case a < 999.995e3:
		return fmt.Sprintf("%.2f k", v/1e3)
	case a < 999.995e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case a < 999.995e9:
		return fmt.Sprintf("%.2f G", v/1e9)
	default:
		return fmt.Sprintf("%.2f T", v/1e12)
	}
}

// thousands puts commas into a decimal integer of more than four digits.
func thousands(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	if len(digits) <= 4 {
		return sign + digits
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Number writes a number with five significant digits, without an exponent where it reads well.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "∞"
	case math.IsInf(v, -1):
		return "-∞"
	case v == math.Trunc(v) && a < 1e15:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case a >= 1e-4 && a < 1e7:
		digits := 4 - int(math.Floor(math.Log10(a)))
		text := strconv.FormatFloat(v, 'f', max(0, digits), 64)
		if strings.Contains(text, ".") {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		return text
	default:
		return strconv.FormatFloat(v, 'g', 5, 64)
	}
}

// Percent writes a fraction of 1 as 45.3 %.
func Percent(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Number(v)
	}
	return fmt.Sprintf("%.1f %%", 100*v)
}

// Duration writes seconds as 850 ms, 12.3 s, 4 min 05 s, 2 h 03 min or 3 d 04 h.
func Duration(seconds float64) string {
	if math.IsNaN(seconds) || math.IsInf(seconds, 0) {
		return Number(seconds)
	}
	if seconds < 0 {
		return "-" + Duration(-seconds)
	}
	if seconds < 0.9995 {
		return fmt.Sprintf("%.3g ms", 1000*seconds)
	}
	if seconds < 59.95 {
		return fmt.Sprintf("%.1f s", seconds)
	}
	d := time.Duration(seconds * float64(time.Second)).Round(time.Second)
	switch minutes := int(d / time.Minute); {
	case minutes < 60:
		return fmt.Sprintf("%d min %02d s", minutes, int(d/time.Second)%60)
	case minutes < 48*60:
		return fmt.Sprintf("%d h %02d min", minutes/60, minutes%60)
	default:
		return fmt.Sprintf("%d d %02d h", minutes/60/24, minutes/60%24)
	}
}

// Bytes writes a size as 512 B, 34.1 MiB.
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), 0
	for v >= 1023.95 && unit < 5 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", v, "BKMGTP"[unit])
}

// Metric writes a value as its metric's name asks: shares of 1 as percentages, times and rates with
// their units, everything else as a number.
func Metric(name string, v float64) string {
	switch metric.UnitOf(name) {
	case metric.Share:
		return Percent(v)
	case metric.PerSecond:
		return Number(roundTo(v, 1)) + " /s"
	case metric.Milliseconds:
		return Number(roundTo(v, 2)) + " ms"
	}
	return Number(v)
}

func roundTo(v float64, decimals int) float64 {
	scale := math.Pow10(decimals)
	if math.IsNaN(v) || math.IsInf(v*scale, 0) {
		return v
	}
	return math.Round(v*scale)/scale + 0 // + 0 turns -0 into 0
}
