package warc_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"tandem/core/data/warc"
	"tandem/core/data/warc/warctest"
	"tandem/core/fault"
)

// packed returns data as a writer of compressed data writes it.
func packed(data []byte, open func(io.Writer) io.WriteCloser) []byte {
	var b bytes.Buffer
	z := open(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

func gzipped(data []byte) []byte {
	return packed(data, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
}

func response(t *testing.T, header string, body []byte, limit int64) (*warc.Response, error) {
	t.Helper()
	var a warctest.Archive
	a.Response("https://a.example/", header, body)
	rec, err := warc.NewReader(bytes.NewReader(a.Bytes()), int64(a.Len()), warc.Limits{}).Next()
	if err != nil {
		t.Fatal(err)
	}
	return rec.Response(limit)
}

func TestEncodingsAreTakenOff(t *testing.T) {
	text := []byte("a kangaroo jumps over a fence")
	for name, c := range map[string]struct {
		header string
		body   []byte
	}{
		"plain":            {"", text},
		"gzip":             {"Content-Encoding: gzip\r\n", gzipped(text)},
		"gzip, decoded":    {"Content-Encoding: gzip\r\n", text},
		"deflate":          {"Content-Encoding: deflate\r\n", packed(text, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })},
		"br":               {"Content-Encoding: br\r\n", packed(text, func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) })},
		"zstd":             {"Content-Encoding: zstd\r\n", packed(text, func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z })},
		"chunked":          {"Transfer-Encoding: chunked\r\n", []byte("a\r\na kangaroo\r\n13\r\n jumps over a fence\r\n0\r\n\r\n")},
		"chunked, decoded": {"Transfer-Encoding: chunked\r\n", text},
		"chunked gzip":     {"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n", chunked(gzipped(text))},
		"wrong length":     {"Content-Length: 5\r\n", text},
	} {
		got, err := response(t, c.header, c.body, 1<<20)
		if err != nil || !bytes.Equal(got.Body, text) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func chunked(data []byte) []byte {
	var b bytes.Buffer
	for _, c := range data {
		b.WriteString("1\r\n")
		b.WriteByte(c)
		b.WriteString("\r\n")
	}
	b.WriteString("0\r\n\r\n")
	return b.Bytes()
}

func TestBodiesThatAreDamagedOrTooLargeAreRefused(t *testing.T) {
	zeros := make([]byte, 4<<20)
	for name, c := range map[string]struct {
		header string
		body   []byte
		reason string
	}{
		"gzip bomb": {"Content-Encoding: gzip\r\n", gzipped(zeros), "decompression bomb"},
		"zstd bomb": {"Content-Encoding: zstd\r\n", packed(zeros, func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z }),
			"decompression bomb"},
		"twice gzip":     {"Content-Encoding: gzip, gzip\r\n", gzipped(gzipped(zeros)), "decompression bomb"},
		"truncated gzip": {"Content-Encoding: gzip\r\n", gzipped([]byte("a kangaroo"))[:20], "truncated record"},
		"truncated":      {"Transfer-Encoding: chunked\r\n", []byte("a\r\na kang"), "truncated record"},
		"too long":       {"", zeros, "too many bytes"},
		"no answer":      {"\x00", nil, ""},
	} {
		got, err := response(t, c.header, c.body, 1<<20)
		if c.reason != "" && fault.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v, want %s", name, err, c.reason)
		}
		if c.reason == "" && err != nil && fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
