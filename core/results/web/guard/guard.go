// Package guard keeps from a local server those who have no business with it: pages of other sites that a browser shows beside it,
// names that were bound to its address afterwards (DNS rebinding), and, where a token is asked for, everybody without it.
package guard

import (
	"fmt"
	"html"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"tandem/core/fault"
)

// Guard says who is answered.
type Guard struct {
	Hosts  []string // names that the server goes by beside localhost
	Remote bool     // the server listens beyond the loopback interface: its own addresses are fine, whatever they are
	Token  string   // "": none is asked for
	Secure bool     // browsers reach the server by TLS only
}

// Protect answers what the guard lets through by h, which is asked by GET and HEAD only.
func (g Guard) Protect(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Headers(w.Header())
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, r, http.StatusMethodNotAllowed, "These pages only read: "+r.Method+" is not answered.", "")
		case !g.knows(r.Host):
			refuse(w, r, http.StatusMisdirectedRequest, fmt.Sprintf("%q is not a name of this server.", fault.Printable(r.Host)),
				"Ask for it as localhost or by its address, or start it with --host "+hostOnly(r.Host)+".")
		case foreign(r):
			refuse(w, r, http.StatusForbidden, "A page of another site asked for this one. That is answered when a person follows a link only.", "Open the address yourself.")
		case g.Token != "" && !g.admit(w, r):
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// policy forbids everything that is not of the site itself. Plot writes style elements into its charts.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Headers sets what every answer of the site has.
func Headers(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// knows reports whether a Host header names this server. A name that resolves to its address is not enough: anybody may give one.
func (g Guard) knows(host string) bool {
	name := hostOnly(host)
	if strings.EqualFold(name, "localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(name); err == nil { // no name, so nobody can bind it to another address
		return ip.Unmap().IsLoopback() || g.Remote
	}
	return slices.ContainsFunc(g.Hosts, func(h string) bool { return strings.EqualFold(hostOnly(h), name) })
}

// hostOnly returns a host without its port.
func hostOnly(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// foreign reports whether a page of another origin makes a browser ask, other than by a link that somebody follows. Programs that are
// no browsers send none of these headers.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return !isNavigation(r)
	case "same-origin", "none":
		return false
	}
	origin := r.Header.Get("Origin") // of browsers that do not send Sec-Fetch-Site
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}

// isNavigation reports whether a browser asks for a page to show it in a window.
func isNavigation(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// refuse says why a request is not answered, and what helps.
func refuse(w http.ResponseWriter, r *http.Request, status int, reason, remedy string) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Error(w, strings.TrimSpace(reason+"\n"+remedy), status)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, page, "", http.StatusText(status), http.StatusText(status), html.EscapeString(reason), html.EscapeString(remedy))
}

const page = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">%s
<link rel="icon" href="data:,"><title>%s · tandem</title><style>body { font: 16px/1.55 system-ui, sans-serif; max-width: 40em; margin: 3em auto; padding: 0 1em; overflow-wrap: anywhere; }</style></head>
<body><main><h1>%s</h1><p>%s</p><p>%s</p></main></body></html>
`
