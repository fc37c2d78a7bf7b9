package answer

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfterIsANumberOrADate(t *testing.T) {
	for text, want := range map[string]time.Duration{"120": 2 * time.Minute, "-1": 0, "soon": 0, "": 0,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour} {
		if got := RetryAfter(http.Header{"Retry-After": {text}}); (got - want).Abs() > 10*time.Second {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
