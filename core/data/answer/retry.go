// Package answer reads what the answers of web servers say to all who ask.
package answer

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RetryAfter returns how long a server asks to be left alone by the header of an answer; 0 when it does not ask (RFC 9110, 10.2.3).
func RetryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return max(0, time.Duration(n)*time.Second)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
