package mlflow

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What the server takes of texts, in characters.
const (
	maxKey   = 250
	maxParam = 6000
	maxTag   = 8000
)

// keys gives names the keys that MLflow takes: letters, digits and _-. :/, in the form of a path that leads down. @ becomes _at_, so
// that R@1 is R_at_1. Names that need more than that get a part of their digest, so that no two have the same key.
type keys map[string]string // by name

func (k keys) of(name string) string {
	key, ok := k[name]
	if !ok {
		key = keyOf(name)
		k[name] = key
	}
	return key
}

func keyOf(name string) string {
	plain := strings.ReplaceAll(name, "@", "_at_")
	key := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("_-. :/", r):
			return r
		}
		return '_'
	}, plain)
	clean := strings.TrimLeft(path.Clean(key), "/.")
	if clean == "" {
		clean = "_"
	}
	if clean == plain && len(clean) <= maxKey && !strings.Contains(name, "_at_") {
		return clean
	}
	sum := sha256.Sum256([]byte(name))
	end := "." + hex.EncodeToString(sum[:4])
	return cut(clean, maxKey-len(end)) + end
}

// cut returns the beginning of a text, of at most n bytes.
func cut(text string, n int) string {
	text = strings.ToValidUTF8(text, "�")
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// param writes a setting as a text.
func param(v any) string {
	switch t := v.(type) {
	case string:
		return cut(t, maxParam)
	case float64:
		return strconv.FormatFloat(t, 'g', -1, 64)
	case bool, int64:
		return fmt.Sprint(t)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return cut(string(text), maxParam)
}

// value writes a number as the server reads it.
func value(x float64) any {
	switch {
	case math.IsNaN(x):
		return "NaN"
	case math.IsInf(x, 1):
		return "Infinity"
	case math.IsInf(x, -1):
		return "-Infinity"
	}
	return x
}
