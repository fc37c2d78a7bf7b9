// Package warctest writes web archives for tests.
package warctest

import (
	"bytes"
	"compress/gzip"
	"fmt"
)

// Archive collects records.
type Archive struct {
	bytes.Buffer
	// Plain leaves the records uncompressed.
	Plain bool
}

// Raw adds a record with a header and content that are taken as they are.
func (a *Archive) Raw(header, content string) {
	record := "WARC/1.1\r\n" + header + "\r\n\r\n" + content + "\r\n\r\n"
	if a.Plain {
		a.WriteString(record)
		return
	}
	z := gzip.NewWriter(a)
	if _, err := z.Write([]byte(record)); err != nil {
		panic(err) // memory does not fail
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
}

// Response adds what a server answered: a header of HTTP without its first line, as "Name: value\r\n…", and a body.
func (a *Archive) Response(uri, header string, body []byte) {
	content := "HTTP/1.1 200 OK\r\n" + header + "\r\n" + string(body)
	a.Raw(fmt.Sprintf("WARC-Type: response\r\nWARC-Target-URI: %s\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: %d",
		uri, len(content)), content)
}

// Page adds a page of HTML.
func (a *Archive) Page(uri, html string) {
	a.Response(uri, "Content-Type: text/html; charset=utf-8\r\n", []byte(html))
}

// Picture adds a picture of a media type.
func (a *Archive) Picture(uri, mediaType string, data []byte) {
	a.Response(uri, "Content-Type: "+mediaType+"\r\n", data)
}
