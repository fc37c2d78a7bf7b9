package table

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"tandem/core/files"
)

// These limits bound a row. Cells are captions, paths and names; a longer text has an unclosed quote or is no
// table.
const (
	maxLine  = 16 << 20 // bytes of a line
	maxSpan  = 1 << 20  // bytes of a cell over several lines
	maxLines = 1000     // lines of a cell
)

// records reads a table's rows. The dialect is the one that pandas reads, and so OpenCLIP: a cell that begins with a
// quote ends with one, may hold delimiters and line breaks, and in it two quotes are one; any other quote is a
// quote. LF, CRLF and CR end lines. Where pandas takes half a table into one cell, or drops quotes that do not
// quote, it differs:
//
//   - With tabs a cell that begins with a quote and does not end with one is a cell with a quote in it.
//   - Otherwise text behind a closing quote, and a quote that is not closed, are faults of the line where the quote
//     opens, and the next line is read on its own.
//   - A quote counts as not closed when the cell would swallow lines that are rows themselves, or when the row over
//     several lines has not the heading's number of cells.
type records struct {
	in    *bufio.Reader
	comma string
	ahead []line // read and not used yet
	next  int    // number of the line after these, from 1
	// Of the heading, once that is known: how many cells a row has and which of them is the picture, -1 for none.
	width, image int
	named, plain int // rows so far whose picture has a picture's ending, and others
}

// line holds a line without its end.
type line struct {
	text, end string
	long      bool // cut: it is longer than maxLine
}

func newRecords(in *bufio.Reader, comma string, before int) *records {
	return &records{in: in, comma: comma, next: 1 + before}
}

// read returns the cells of the next row that is not blank and the number of its first line. Its error is
// io.EOF, a *Refusal of that row, or one of reading the file.
func (r *records) read() (cells []string, number int, err error) {
	for {
		if err := r.readAhead(0); err != nil {
			return nil, 0, err
		}
		if strings.TrimSpace(r.ahead[0].text) != "" || strings.Contains(r.ahead[0].text, r.comma) {
			break
		}
		r.drop(1)
	}
	number = r.next - len(r.ahead)
	if r.ahead[0].long {
		r.drop(1)
		return nil, number, refuse("the line is longer than %d bytes", maxLine)
	}
	cells, used, err := r.split(maxLines)
	if err == nil && used > 1 && r.width > 0 && !r.fits(cells) {
		// The closing quote was the opening one of a later row.
		if cells, used, err = r.split(0); err == nil && r.comma != "\t" {
			err = refuse("a quote is not closed")
		}
	}
	r.drop(used)
	if err == nil && r.width > 0 && r.image >= 0 && r.fits(cells) {
		if files.IsPicture(strings.TrimSpace(cells[r.image])) {
			r.named++
		} else {
			r.plain++
		}
	}
	if err == nil && slices.ContainsFunc(cells, func(c string) bool { return strings.IndexByte(c, 0) >= 0 }) {
		err = refuse("it has a NUL byte")
	}
	return cells, number, err
}

// fits reports whether a row has as many cells as the heading, not counting empty ones at its end.
func (r *records) fits(cells []string) bool {
	return len(cells) >= r.width && strings.TrimSpace(strings.Join(cells[r.width:], "")) == ""
}

// split cuts the row that begins with the first line ahead into cells, each of which takes at most so many further
// lines, and says how many lines it used.
func (r *records) split(further int) (cells []string, used int, err error) {
	text := r.ahead[0].text
	used = 1
	for {
		if strings.HasPrefix(text, `"`) {
			cell, rest, more, lines, err := r.readQuoted(text, used, further)
			if err == nil {
				cells, used = append(cells, cell), used+lines
				if !more {
					return cells, used, nil
				}
				text = rest
				continue
			}
			var unclosed *Refusal
			if r.comma != "\t" || !errors.As(err, &unclosed) {
				return nil, 1, err
			}
		}
		cell, rest, more := strings.Cut(text, r.comma)
		cells = append(cells, cell)
		if !more {
			return cells, used, nil
		}
		text = rest
	}
}

// readQuoted reads the quoted cell that text begins with, which may go on in the lines from number from ahead on; lines
// says in how many, at most further. rest is what follows its delimiter, if there is more.
func (r *records) readQuoted(text string, from, further int) (cell, rest string, more bool, lines int, err error) {
	unclosed := func() error { return refuse("the quote before %s is not closed", excerpt(text[1:])) }
	var whole strings.Builder // of a cell over several lines
	body := text[1:]
	for {
		at := closingQuote(body)
		if at >= 0 {
			after := strings.TrimLeft(body[at+1:], " ")
			if after != "" && !strings.HasPrefix(after, r.comma) {
				if lines > 0 {
					return "", "", false, 0, unclosed()
				}
				return "", "", false, 0, refuse("there is text behind the quotes of %s: %s", excerpt(body[:at]), excerpt(after))
			}
			whole.WriteString(body[:at])
			if after != "" {
				rest, more = after[len(r.comma):], true
			}
			return strings.ReplaceAll(whole.String(), `""`, `"`), rest, more, lines, nil
		}
		whole.WriteString(body)
		whole.WriteString(r.ahead[from+lines-1].end)
		if lines >= further || whole.Len() > maxSpan {
			return "", "", false, 0, unclosed()
		}
		if err := r.readAhead(from + lines); errors.Is(err, io.EOF) {
			return "", "", false, 0, unclosed()
		} else if err != nil {
			return "", "", false, 0, err
		}
		body = r.ahead[from+lines].text
		if r.ahead[from+lines].long || r.isRow(body) && (closingQuote(body) < 0 || r.isRow(r.ahead[0].text)) {
			return "", "", false, 0, unclosed()
		}
		lines++
	}
}

// closingQuote returns the position of the quote that ends a quoted cell, or -1 when there is none. Two quotes
// in a row stand for one and do not end the cell.
func closingQuote(text string) int {
	for at := 0; ; at++ {
		next := strings.IndexByte(text[at:], '"')
		if next < 0 {
			return -1
		}
		if at += next; at+1 == len(text) || text[at+1] != '"' {
			return at
		}
		at++
	}
}

// isRow reports whether a line within quotes looks like a row of its own: it has as many cells as the heading, and one that
// names a picture. With tabs, which captions rarely have, it need not where pictures have no endings.
func (r *records) isRow(text string) bool {
	if r.width == 0 || strings.Count(text, r.comma)+1 != r.width {
		return false
	}
	if r.image < 0 || r.comma == "\t" && r.plain > r.named {
		return true
	}
	return files.IsPicture(strings.Trim(strings.Split(text, r.comma)[r.image], ` "`))
}

// readAhead reads ahead until line i is known.
func (r *records) readAhead(i int) error {
	for len(r.ahead) <= i {
		l, err := r.readLine()
		if err != nil {
			return err
		}
		r.ahead = append(r.ahead, l)
		r.next++
	}
	return nil
}

func (r *records) drop(n int) { r.ahead = append(r.ahead[:0], r.ahead[n:]...) }

// readLine reads a line. It passes over what is longer than maxLine and does not keep it.
func (r *records) readLine() (line, error) {
	var l line
	var parts []byte
	for begun := false; ; begun = true {
		if r.in.Buffered() == 0 {
			if _, err := r.in.Peek(1); err == io.EOF && begun {
				l.text = string(parts)
				return l, nil
			} else if err != nil {
				return l, err
			}
		}
		buf, _ := r.in.Peek(r.in.Buffered()) // it is there
		end := bytes.IndexByte(buf, '\n')
		if end < 0 {
			end = len(buf)
		}
		if cr := bytes.IndexByte(buf[:end], '\r'); cr >= 0 {
			end = cr
		}
		if len(parts)+end > maxLine {
			l.long, parts = true, parts[:0]
		}
		if end == len(buf) {
			if !l.long {
				parts = append(parts, buf...)
			}
			r.in.Discard(end)
			continue
		}
		l.end = string(buf[end : end+1])
		if !l.long && len(parts) == 0 {
			l.text = string(buf[:end])
		} else if !l.long {
			l.text = string(append(parts, buf[:end]...))
		}
		r.in.Discard(end + 1)
		if l.end == "\r" {
			if b, err := r.in.Peek(1); err == nil && b[0] == '\n' {
				r.in.Discard(1)
				l.end = "\r\n"
			}
		}
		return l, nil
	}
}

// excerpt returns the beginning of a text, quoted, for a message.
func excerpt(text string) string {
	const most = 30
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return fmt.Sprintf("%q", text)
}
