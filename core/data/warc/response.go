package warc

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"tandem/core/fault"
)

// Response holds what a server answered, as far as a reader of pages and pictures needs it.
type Response struct {
	Status int
	Header http.Header
	Type   string // the media type, lower case: "text/html"
	Body   []byte // without transfer and content encodings
}

// Response returns the answer that a record of type response holds, or the content of a resource as an answer with status
// 200. Neither the record nor the decoded body may have more than limit bytes.
func (r *Record) Response(limit int64) (*Response, error) {
	data, err := r.Content(limit)
	if err != nil {
		return nil, err
	}
	if r.Type == "resource" {
		return &Response{Status: http.StatusOK, Header: http.Header{"Content-Type": {r.ContentType}}, Type: mediaType(r.ContentType), Body: data}, nil
	}
	in := bufio.NewReader(bytes.NewReader(data))
	line, _, err := readLine(in, 8<<10)
	proto, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, e := strconv.Atoi(code)
	if err != nil || e != nil || !strings.HasPrefix(proto, "HTTP/") {
		return nil, damaged(r.Place, "the answer of %s begins with %q", r.URI, cut(line))
	}
	header, err := textproto.NewReader(in).ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, damaged(r.Place, "the answer of %s: header: %w", r.URI, err)
	}
	raw, _ := io.ReadAll(in) // of memory
	h := http.Header(header)
	body, err := decode(raw, h, limit)
	if err != nil {
		return nil, damaged(r.Place, "the answer of %s: %w", r.URI, err)
	}
	return &Response{Status: status, Header: h, Type: mediaType(h.Get("Content-Type")), Body: body}, nil
}

func mediaType(header string) string {
	if t, _, err := mime.ParseMediaType(header); err == nil {
		return t
	}
	t, _, _ := strings.Cut(header, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// decode takes the encodings off a body. Archives keep bodies as they were sent or already decoded, with the same header:
// what does not begin as the header says stays as it is.
func decode(raw []byte, h http.Header, limit int64) ([]byte, error) {
	if strings.EqualFold(strings.TrimSpace(h.Get("Transfer-Encoding")), "chunked") {
		whole, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(raw)))
		switch {
		case err == nil:
			raw = whole
		case len(whole) > 0:
			return nil, err
		}
	}
	for _, coding := range strings.Split(h.Get("Content-Encoding"), ",") {
		var z io.Reader
		var err error
		switch in := bytes.NewReader(raw); strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			if !bytes.HasPrefix(raw, gzipMagic) {
				continue
			}
			z, err = gzip.NewReader(in)
		case "deflate":
			if z, err = zlib.NewReader(in); err != nil {
				z, err = flate.NewReader(bytes.NewReader(raw)), nil
			}
		case "br":
			z = brotli.NewReader(in)
		case "zstd":
			var d *zstd.Decoder
			if d, err = zstd.NewReader(in, zstd.WithDecoderMaxWindow(32<<20), zstd.WithDecoderConcurrency(1)); err == nil {
				defer d.Close()
				z = d
			}
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		if raw, err = io.ReadAll(io.LimitReader(z, limit+1)); err != nil {
			return nil, err
		}
		if int64(len(raw)) > limit {
			return nil, fault.New(fault.Exhausted, "the body decompresses to more than %d bytes", limit).WithReason("decompression bomb")
		}
	}
	return raw, nil
}
