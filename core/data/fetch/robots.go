package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/temoto/robotstxt"

	"tandem/core/fault"
)

// How long the rules of a host hold, and how long the lack of an answer.
const (
	rulesTime   = 24 * time.Hour
	noRulesTime = time.Minute
	rulesBytes  = 500 << 10 // what lies behind is not read (RFC 9309)
)

// robots holds what a host says of all its addresses.
type robots struct {
	group    *robotstxt.Group // nil: everything is allowed
	reserved []reservation
	err      error // why nothing is known
}

// reservation holds one rule of /.well-known/tdmrep.json.
type reservation struct {
	at       *regexp.Regexp
	reserved bool
}

// permitted returns an error when the host of an address does not let it be fetched.
func (f *Fetcher) permitted(ctx context.Context, u *url.URL) error {
	if f.o.IgnoreRobots && f.o.IgnoreNoAI {
		return nil
	}
	r, err := f.robotsOf(ctx, u)
	if err != nil {
		return err
	}
	if !f.o.IgnoreRobots && r.group != nil {
		if !r.group.Test(u.RequestURI()) {
			return failure(fault.Invalid, RefusedByRobots, u, "robots.txt forbids it to %s", f.agent)
		}
		if r.group.CrawlDelay > f.o.MaxPause {
			return failure(fault.Invalid, RefusedByRobots, u, "robots.txt wants %s between two requests, more than %s", r.group.CrawlDelay, f.o.MaxPause)
		}
	}
	if !f.o.IgnoreNoAI && r.reserves(u) {
		return failure(fault.Invalid, NoAI, u, "/.well-known/tdmrep.json reserves it (tdm-reservation: 1)")
	}
	return nil
}

// robotsOf returns the rules of a host. Those who ask at the same time wait for one answer.
func (f *Fetcher) robotsOf(ctx context.Context, u *url.URL) (*robots, error) {
	h := f.hostOf(u)
	if err := put(ctx, h.asking); err != nil {
		return nil, canceled(ctx, u)
	}
	defer func() { <-h.asking }()
	if h.robots == nil || time.Now().After(h.until) {
		r := f.readRules(ctx, u)
		if ctx.Err() != nil {
			return nil, canceled(ctx, u)
		}
		h.robots, h.until = r, time.Now().Add(rulesTime)
		if r.err != nil {
			h.until = time.Now().Add(noRulesTime)
		} else if r.group != nil && r.group.CrawlDelay <= f.o.MaxPause {
			h.slow(r.group.CrawlDelay)
		}
	}
	if err := h.robots.err; err != nil {
		if !Temporary(err) { // a host that is none, a private address
			return nil, failure(fault.KindOf(err), fault.ReasonOf(err), u, "%w", err)
		}
		return nil, failure(fault.Unavailable, NoRobots, u, "what may be fetched is not known for now: %w", err)
	}
	return h.robots, nil
}

func (f *Fetcher) readRules(ctx context.Context, u *url.URL) *robots {
	r := &robots{}
	if !f.o.IgnoreRobots {
		body, err := f.readRule(ctx, u, "/robots.txt")
		if err != nil {
			return &robots{err: err}
		}
		data, err := robotstxt.FromBytes(plainRules(body))
		if err != nil {
			return &robots{err: failure(fault.Corrupt, RefusedByRobots, u, "robots.txt: %w", err)}
		}
		r.group = data.FindGroup(f.agent)
	}
	if !f.o.IgnoreNoAI {
		body, err := f.readRule(ctx, u, "/.well-known/tdmrep.json")
		if err != nil && !Temporary(err) {
			return &robots{err: err}
		}
		r.reserved = parseReservations(body)
	}
	return r
}

// readRule reads a file of rules; nil when the host has none.
func (f *Fetcher) readRule(ctx context.Context, u *url.URL, path string) ([]byte, error) {
	at := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: path}
	for range max(f.o.Redirects, 5) + 1 {
		r, next, err := f.patiently(ctx, at, wants{limit: rulesBytes, cut: true})
		switch reason := fault.ReasonOf(err); {
		case err == nil && next == "":
			return r.Body, nil
		case err == nil:
			to, err := at.Parse(next)
			if err != nil {
				return nil, nil
			}
			if at, err = parse(to.String()); err != nil {
				return nil, nil
			}
		case reason == NotFound || reason == Forbidden || reason == BadReply: // as RFC 9309 has it of 4xx
			return nil, nil
		default:
			return nil, err
		}
	}
	return nil, nil // too many redirects: as none (RFC 9309)
}

// plainRules keeps the lines that are rules. One that is none would otherwise spoil the rest.
func plainRules(body []byte) []byte {
	var out bytes.Buffer
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	for line := range bytes.FieldsFuncSeq(body, func(r rune) bool { return r == '\n' || r == '\r' }) {
		text, _, _ := strings.Cut(string(line), "#")
		key, value, ok := strings.Cut(text, ":")
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		switch key {
		case "user-agent", "allow", "disallow":
		case "crawl-delay":
			n, err := strconv.ParseFloat(value, 64)
			ok = ok && err == nil && n >= 0 && n < 1e6
		default:
			ok = false
		}
		if ok {
			out.WriteString(key + ": " + value + "\n")
		}
	}
	return out.Bytes()
}

// parseReservations reads tdmrep.json; what is no such file reserves nothing.
func parseReservations(body []byte) (rules []reservation) {
	var list []struct {
		Location    string          `json:"location"`
		Reservation json.RawMessage `json:"tdm-reservation"`
	}
	if json.Unmarshal(body, &list) != nil {
		return nil
	}
	for _, x := range list {
		pattern := regexp.QuoteMeta(x.Location)
		pattern = "^" + strings.ReplaceAll(pattern, `\*`, ".*")
		if at, ok := strings.CutSuffix(pattern, `\$`); ok {
			pattern = at + "$"
		}
		if at, err := regexp.Compile(pattern); err == nil && x.Location != "" {
			rules = append(rules, reservation{at, strings.Trim(string(x.Reservation), `" `) == "1"})
		}
	}
	return rules
}

// reserves reports whether the first rule for an address reserves it.
func (r *robots) reserves(u *url.URL) bool {
	for _, rule := range r.reserved {
		if rule.at.MatchString(u.RequestURI()) {
			return rule.reserved
		}
	}
	return false
}
