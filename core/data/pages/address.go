package pages

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

const (
	maxAddress = 2_000 // bytes
	maxSizes   = 20    // of a srcset
)

// Attributes in which scripts find what they are to show in place of src, and lists of sizes.
var (
	lazy     = []string{"data-src", "data-original", "data-lazy-src", "data-lazy", "data-url", "data-image"}
	sizes    = []string{"srcset", "data-srcset", "data-lazy-srcset"}
	standIns = []string{"blank", "spacer", "placeholder", "lazy", "loading", "transparent", "pixel", "1x1"}
)

// addresses returns where a picture may lie, and otherwise the reason why there is none.
func (r *reader) addresses(n *html.Node) (found []string, reason string) {
	reason = "no address"
	add := func(ref string) {
		u, why := r.resolve(ref)
		if why != "" && reason == "no address" {
			reason = why
		}
		if u != "" && !slices.Contains(found, u) {
			found = append(found, u)
		}
	}
	var real []string
	for _, name := range lazy {
		real = append(real, attr(n, name))
	}
	for _, name := range sizes {
		real = append(real, largest(attr(n, name))...)
	}
	if p := n.Parent; p != nil && p.Type == html.ElementNode && p.Data == "picture" {
		for c := p.FirstChild; c != nil && c != n; c = c.NextSibling {
			if c.Type == html.ElementNode && c.Data == "source" && len(real) < 4*maxSizes {
				real = append(real, largest(attr(c, "srcset"))...)
			}
		}
	}
	src := attr(n, "src")
	if !standsIn(src) {
		add(src)
	}
	for _, ref := range real {
		add(ref)
	}
	add(src)
	return found, reason
}

// standsIn reports whether the name of a file is one that pages show until the real one is loaded.
func standsIn(src string) bool {
	name := strings.ToLower(src[strings.LastIndexByte(src, '/')+1:])
	return slices.ContainsFunc(standIns, func(s string) bool { return strings.Contains(name, s) })
}

// resolve returns the address that a page means, without fragment; otherwise why there is none.
func (r *reader) resolve(ref string) (address, reason string) {
	ref = strings.TrimSpace(ref)
	switch {
	case ref == "":
		return "", ""
	case len(ref) >= 5 && strings.EqualFold(ref[:5], "data:"):
		return "", "data: address"
	case len(ref) > maxAddress:
		return "", "bad address"
	}
	to, err := url.Parse(ref)
	if err != nil || to.Opaque != "" || (to.Scheme != "" && !isWeb(to)) {
		return "", "bad address"
	}
	if to.Scheme == "" && to.Host == "" && !isWeb(r.base) && climbs(r.base.Path, to.Path) {
		return "", "outside the folder"
	}
	to = r.base.ResolveReference(to)
	to.Fragment, to.RawFragment, to.User = "", "", nil
	return to.String(), ""
}

// isWeb reports whether an address is one of the web.
func isWeb(u *url.URL) bool { return u.Scheme == "http" || u.Scheme == "https" }

// climbs reports whether a path leads above the root of a folder of pages. (On the web it stays at the root, as in browsers.)
func climbs(base, ref string) bool {
	depth := 0
	if !strings.HasPrefix(ref, "/") {
		depth = strings.Count(strings.TrimPrefix(base, "/"), "/")
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "/"), "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// largest returns the addresses of a srcset, the largest first.
func largest(srcset string) (found []string) {
	type size struct {
		at    string
		large float64
	}
	var all []size
	for part := range strings.SplitSeq(srcset, ",") {
		fields := strings.Fields(part)
		if len(fields) == 0 || len(all) >= maxSizes {
			continue
		}
		s := size{fields[0], 1}
		if len(fields) > 1 {
			if v, err := strconv.ParseFloat(strings.TrimRight(fields[1], "wxh"), 64); err == nil {
				s.large = v
			}
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b size) int { return cmp.Compare(b.large, a.large) })
	for _, s := range all {
		found = append(found, s.at)
	}
	return found
}
