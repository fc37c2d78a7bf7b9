package store

import (
	"crypto/rand"
	"strings"
	"time"
)

// idAlphabet lists the digits of Crockford's base 32 in lower case: no i, l, o or u, and in the order of their bytes.
const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// idEpoch begins the count of seconds in an id; six digits last 34 years from it.
var idEpoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// newID gives a run id: six digits of seconds, so that ids sort by time, and four random ones.
func newID(now time.Time) string {
	var random [4]byte
	rand.Read(random[:])
	id := make([]byte, 10)
	seconds := max(0, now.Unix()-idEpoch.Unix()) // a clock may be wrong; the digits then say less, and no id is given twice
	for i := 5; i >= 0; i-- {
		id[i] = idAlphabet[seconds%32]
		seconds /= 32
	}
	for i, b := range random {
		id[6+i] = idAlphabet[b%32]
	}
	return string(id)
}

// IsID reports whether a text has the form of a run's id.
func IsID(text string) bool {
	for i := range len(text) {
		if strings.IndexByte(idAlphabet, text[i]) < 0 {
			return false
		}
	}
	return len(text) == 10
}
