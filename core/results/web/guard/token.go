package guard

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"strings"

	"tandem/core/fault"
)

// leastToken is how many characters a token has at least.
const leastToken = 16

// NewToken makes a token that nobody can guess.
func NewToken() string { return rand.Text() }

// ReadToken reads a token from a file: its only line. Errors: fault.NotFound, fault.Unavailable, and fault.Invalid for one that is short,
// or has characters that an address would have to escape.
func ReadToken(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return "", fault.New(fault.NotFound, "there is no file %s with a token", path).WithHint("openssl rand -hex 16 > %s, or leave --token-file away: a token is then made", path)
	case err != nil:
		return "", fault.New(fault.Unavailable, "token file: %w", err)
	case !info.Mode().IsRegular() || info.Size() > 4096:
		return "", fault.New(fault.Invalid, "%s is no file with a token: %s of %d bytes", path, info.Mode(), info.Size()).WithHint("openssl rand -hex 16 > FILE makes one")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fault.New(fault.Unavailable, "token file: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if len(token) < leastToken {
		return "", fault.New(fault.Invalid, "the token in %s has %d characters, want at least %d", path, len(token), leastToken).WithHint("openssl rand -hex 16 > %s", path)
	}
	if url.QueryEscape(token) != token {
		return "", fault.New(fault.Invalid, "the token in %s has characters other than letters, digits, - . _ ~", path).WithHint("openssl rand -hex 16 > %s", path)
	}
	return token, nil
}

// admit lets through who shows the token: in the address once, which leaves a cookie, or in the header Authorization. It answers all others.
func (g Guard) admit(w http.ResponseWriter, r *http.Request) bool {
	if shown, ok := r.URL.Query()["token"]; ok {
		if len(shown) != 1 || !g.is(shown[0]) {
			g.deny(w, r, "The token in the address is not the one of this server: it may be of an earlier start.")
			return false
		}
		g.remember(w, r)
		return false
	}
	if kind, shown, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(kind, "Bearer") && g.is(strings.TrimSpace(shown)) {
		return true
	}
	if c, err := r.Cookie(g.cookie()); err == nil && g.is(c.Value) {
		return true
	}
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" && isNavigation(r) {
		again(w, r.URL) // a browser keeps the cookie back when a link on another site leads here, and gives it when the page asks again
		return false
	}
	g.deny(w, r, "This server asks for a token.")
	return false
}

func (g Guard) deny(w http.ResponseWriter, r *http.Request, reason string) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="tandem"`)
	refuse(w, r, http.StatusUnauthorized, reason, "Open the address that runner serve printed, with ?token=… at its end. Programs send the header Authorization: Bearer TOKEN.")
}

// remember leaves the token as a cookie and leads to the address without it, so that it stays in no history and is not sent on.
func (g Guard) remember(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: g.cookie(), Value: g.Token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: g.Secure, MaxAge: 30 * 24 * 3600})
	clean := *r.URL
	q := clean.Query()
	q.Del("token")
	clean.RawQuery = q.Encode()
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		again(w, &clean)
		return
	}
	w.Header().Set("Location", local(&clean))
	w.WriteHeader(http.StatusSeeOther)
}

// again answers with a page that asks for an address of this server itself.
func again(w http.ResponseWriter, u *url.URL) {
	to := html.EscapeString(local(u))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, page, `<meta http-equiv="refresh" content="0; url=`+to+`">`, "Opening", "Opening", `<a href="`+to+`">Continue</a>`, "")
}

// local returns an address within this server, which a path such as //elsewhere cannot lead out of.
func local(u *url.URL) string {
	path := "/" + strings.TrimLeft(u.EscapedPath(), `/\`)
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return path
}

// is compares in a time that does not depend on what is shown.
func (g Guard) is(shown string) bool {
	a, b := sha256.Sum256([]byte(shown)), sha256.Sum256([]byte(g.Token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// cookie names the cookie after the token: servers on other ports of one machine share cookies, and have other tokens.
func (g Guard) cookie() string {
	sum := sha256.Sum256([]byte("cookie of " + g.Token))
	return "tandem_" + hex.EncodeToString(sum[:4])
}
