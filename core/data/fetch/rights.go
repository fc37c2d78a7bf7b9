package fetch

import (
	"net/http"
	"strings"
)

// Rights tells what an owner reserves.
type Rights struct {
	NoAI      bool   // noai: nothing here may train models
	NoImageAI bool   // noimageai: no picture here may
	Reserved  bool   // tdm-reservation: 1, the W3C community's protocol for text and data mining
	Policy    string // tdm-policy: where a licence can be had
}

// Directives reads the header of an answer: X-Robots-Tag, tdm-reservation and tdm-policy. A directive of X-Robots-Tag for
// one robot alone ("otherbot: noai") counts when agent is that robot's name; "" is no robot's.
func Directives(h http.Header, agent string) Rights {
	var r Rights
	for _, line := range h.Values("X-Robots-Tag") {
		r = r.With(forAgent(line, agent))
	}
	if strings.TrimSpace(h.Get("tdm-reservation")) == "1" {
		r.Reserved = true
	}
	r.Policy = strings.TrimSpace(h.Get("tdm-policy"))
	return r
}

// With adds directives as a page names them, in <meta name="robots" content="noai, noimageai">.
func (r Rights) With(directives string) Rights {
	for d := range strings.FieldsFuncSeq(strings.ToLower(directives), func(c rune) bool { return c == ',' || c == ' ' || c == ';' || c == '\t' }) {
		switch d {
		case "noai":
			r.NoAI = true
		case "noimageai":
			r.NoImageAI = true
		}
	}
	return r
}

// Refuses names the directive that forbids to use something, which may be a picture; "" when none does.
func (r Rights) Refuses(picture bool) string {
	switch {
	case r.NoAI:
		return "noai"
	case picture && r.NoImageAI:
		return "noimageai"
	case r.Reserved:
		return "tdm-reservation: 1"
	}
	return ""
}

// forAgent returns the directives of a line of X-Robots-Tag, without those for other robots.
func forAgent(line, agent string) string {
	name, rest, named := strings.Cut(line, ":")
	name = strings.TrimSpace(name)
	switch strings.ToLower(name) {
	case "unavailable_after", "max-snippet", "max-image-preview", "max-video-preview":
		named = false // directives with a value
	}
	if !named || strings.ContainsAny(name, ", ") {
		return line
	}
	if !strings.EqualFold(name, agent) {
		return ""
	}
	return rest
}
