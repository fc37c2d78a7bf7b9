package fetch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// reserved lists networks that are not the public internet's, beside those that netip tells.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // between a provider and its customers
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), // IPv4 in an old form
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), // Teredo and others that carry IPv4
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // IPv4 in IPv6
	netip.MustParsePrefix("fec0::/10"),
}

// translated is where a translator (NAT64) puts the public IPv4.
var translated = netip.MustParsePrefix("64:ff9b::/96")

// isPublic reports whether an address is one of the public internet.
func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if translated.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// errPrivate is the cause of a PrivateAddress.
var errPrivate = errors.New("a private address")

// refusePrivate is called with the address that a name was resolved to, just before it is connected to. A name that
// resolves to another address the second time gains nothing by it.
func refusePrivate(network, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(at.Addr()) {
		return errPrivate
	}
	return nil
}

// transport sends requests to their hosts, or to the proxy that the environment names. The proxy may have a private address
// and resolves names itself; so what is asked of it is checked before.
type transport struct {
	direct, proxied *http.Transport
	allowPrivate    bool
}

func newTransport(o Options) *transport {
	dialer := &net.Dialer{Timeout: min(o.Timeout, 15*time.Second)}
	if !o.AllowPrivate {
		dialer.Control = refusePrivate
	}
	build := func(d *net.Dialer) *http.Transport {
		return &http.Transport{DialContext: d.DialContext, MaxIdleConns: 4 * o.Total, MaxIdleConnsPerHost: o.PerHost,
			IdleConnTimeout: time.Minute, TLSHandshakeTimeout: min(o.Timeout, 15*time.Second), MaxResponseHeaderBytes: 256 << 10,
			ForceAttemptHTTP2: true}
	}
	t := &transport{direct: build(dialer), allowPrivate: o.AllowPrivate}
	t.proxied = build(&net.Dialer{Timeout: dialer.Timeout})
	t.proxied.Proxy = http.ProxyFromEnvironment
	return t
}

// RoundTrip sends one request.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	proxy, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return t.direct.RoundTrip(r)
	}
	if !t.allowPrivate {
		if err := checkName(r.Context(), r.URL); err != nil {
			return nil, err
		}
	}
	return t.proxied.RoundTrip(r)
}

// CloseIdleConnections closes those of both.
func (t *transport) CloseIdleConnections() {
	t.direct.CloseIdleConnections()
	t.proxied.CloseIdleConnections()
}

// checkName refuses a host that is or resolves to a private address. Where this machine resolves no names, the proxy has the
// last word.
func checkName(ctx context.Context, u *url.URL) error {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil
	}
	for _, a := range found {
		if !isPublic(a) {
			return errPrivate
		}
	}
	return nil
}
