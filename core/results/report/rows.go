package report

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"tandem/core/fault"
)

// Format names a way of writing rows.
type Format string

// The formats.
const (
	Text Format = "text" // a table for a person
	JSON Format = "json" // an array of objects, keys in the order of the columns
	CSV  Format = "csv"  // RFC 4180 with a header line
)

// Rows writes the result of a query or a listing. Every row has one value per column: nil, bool, any
// integer or float (named types too), string, []byte, time.Time, json.RawMessage, fmt.Stringer or a
// pointer to one of these.
//
// Text on a terminal has a bold header and is no wider than it: long columns are shortened with …,
// and rows that do not fit even so are written one column a line. Elsewhere lines are as long as they
// need to be. nil is – in text, null in JSON and empty in CSV. NaN is NaN in text, null in
// JSON and NaN in CSV; infinities are ∞, "Infinity" and Infinity. Numbers in JSON and CSV are exact.
func Rows(w io.Writer, format Format, columns []string, rows [][]any) error {
	out, err := NewRowWriter(w, format, columns)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := out.Add(row); err != nil {
			return err
		}
	}
	return out.Close()
}

// Value writes v as indented JSON, for results that are not rows.
func Value(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escapedJSON(b.String()))
	return err
}

// escapedJSON writes what a terminal obeys, and JSON lets stand within strings, as escapes. It means the same.
func escapedJSON(text string) string {
	if strings.IndexFunc(text, obeyedInJSON) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !obeyedInJSON(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// obeyedInJSON leaves out the controls below a space, which stand between values only.
func obeyedInJSON(r rune) bool { return r > ' ' && fault.IsUnprintable(r) }

func encode(v any) (string, error) {
	switch f := v.(type) {
	case float64:
		switch {
		case math.IsNaN(f):
			return "null", nil
		case math.IsInf(f, 1):
			return `"Infinity"`, nil
		case math.IsInf(f, -1):
			return `"-Infinity"`, nil
		}
	case []byte:
		v = hex.EncodeToString(f)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return escapedJSON(strings.TrimSuffix(b.String(), "\n")), err
}

func csvField(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		switch {
		case math.IsInf(v, 1):
			return "Infinity"
		case math.IsInf(v, -1):
			return "-Infinity"
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []byte:
		return hex.EncodeToString(v)
	case json.RawMessage:
		return string(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}

// plain reduces a value to nil, bool, int64, uint64, float64, string, []byte, time.Time or
// json.RawMessage.
func plain(v any) any {
	switch v := v.(type) {
	case nil, bool, int64, float64, string, []byte, time.Time, json.RawMessage:
		return v
	case fmt.Stringer:
		if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && r.IsNil() {
			return nil
		}
		return v.String()
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Interface:
		if r.IsNil() {
			return nil
		}
		return plain(r.Elem().Interface())
	case reflect.Bool:
		return r.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return r.Uint()
	case reflect.Float32:
		// The shortest decimal of the float32, not its long double twin.
		f, _ := strconv.ParseFloat(strconv.FormatFloat(r.Float(), 'g', -1, 32), 64)
		return f
	case reflect.Float64:
		return r.Float()
	case reflect.String:
		return r.String()
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return json.RawMessage(text)
}

// writeRecords writes rows with one column a line; before tells how many stand above them, total how many there are in all,
// 0 when that is not known yet.
func writeRecords(w io.Writer, columns []string, cells [][]string, before, total int) error {
	longest := 0
	for _, name := range columns {
		longest = max(longest, text.StringWidthWithoutEscSequences(name))
	}
	next := "\n" + strings.Repeat(" ", longest+2)
	var b strings.Builder
	for i, row := range cells {
		fmt.Fprintf(&b, "── %d", before+i+1)
		if total > 0 {
			fmt.Fprintf(&b, " of %d", total)
		}
		b.WriteString("\n")
		for j, name := range columns {
			fmt.Fprintf(&b, "%s  %s\n", text.Pad(name, longest, ' '), strings.ReplaceAll(row[j], "\n", next))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return "–"
	case float64:
		return Number(v)
	case time.Time:
		return v.Local().Format("2006-01-02 15:04:05")
	case []byte:
		const most = 16
		if len(v) > most {
			return fmt.Sprintf("%x… (%s)", v[:most], Bytes(int64(len(v))))
		}
		return hex.EncodeToString(v)
	}
	return fault.Printable(strings.ReplaceAll(csvField(v), "\t", " "))
}

// Table writes cells under a header as aligned text; right tells which columns stand to the right.
// On a terminal, long columns are shortened with … until the table fits. What a terminal would obey is escaped.
func Table(w io.Writer, columns []string, cells [][]string, right []bool) error {
	terminal, width := Terminal(w)
	safe := make([][]string, len(cells))
	for i, row := range cells {
		safe[i] = printable(row)
	}
	_, err := aligned(w, printable(columns), safe, right, width, terminal && os.Getenv("NO_COLOR") == "")
	return err
}

// printable gives texts that are safe for a terminal.
func printable(texts []string) []string {
	out := make([]string, len(texts))
	for i, s := range texts {
		out[i] = fault.Printable(s)
	}
	return out
}

// aligned writes a Table of a width in characters, 0 for any, with or without a bold header. It returns the widths of the columns.
func aligned(w io.Writer, columns []string, cells [][]string, right []bool, width int, bold bool) ([]int, error) {
	limits, _ := columnWidths(columns, cells, width)
	configs, widths := make([]table.ColumnConfig, len(columns)), make([]int, len(columns))
	header := make(table.Row, len(columns))
	for j, name := range columns {
		header[j] = name
		configs[j] = columnConfig(j, right)
		if limits != nil {
			configs[j].WidthMax, configs[j].WidthMaxEnforcer = limits[j], shorten
			widths[j] = limits[j]
			continue
		}
		widths[j] = text.LongestLineLen(name)
		for _, row := range cells {
			widths[j] = max(widths[j], text.LongestLineLen(row[j]))
		}
	}
	t := newTable(configs, bold)
	t.AppendHeader(header)
	appendRows(t, cells)
	out := t.Render()
	// The line below the header does not reach over the gap after the last column.
	top, rest, _ := strings.Cut(out, "\n")
	top = gapAfter.ReplaceAllString(top, "$1") // which a narrow terminal would give a line of its own
	rule, body, rows := strings.Cut(rest, "\n")
	if i := strings.LastIndex(rule, "──"); i >= 0 {
		out = top + "\n" + rule[:i] + rule[i+len("──"):]
		if rows {
			out += "\n" + body
		}
	}
	_, err := io.WriteString(w, out+"\n")
	return widths, err
}

// alignedBelow continues a table whose columns are at least so wide, and no wider on a terminal.
func alignedBelow(w io.Writer, cells [][]string, right []bool, least []int, width int) error {
	configs := make([]table.ColumnConfig, len(least))
	for j := range configs {
		configs[j] = columnConfig(j, right)
		configs[j].WidthMin = least[j]
		if width > 0 {
			configs[j].WidthMax, configs[j].WidthMaxEnforcer = least[j], shorten
		}
	}
	t := newTable(configs, false)
	appendRows(t, cells)
	_, err := io.WriteString(w, t.Render()+"\n")
	return err
}

func columnConfig(j int, right []bool) table.ColumnConfig {
	c := table.ColumnConfig{Number: j + 1, Align: text.AlignLeft, AlignHeader: text.AlignLeft}
	if right != nil && right[j] {
		c.Align, c.AlignHeader = text.AlignRight, text.AlignRight
	}
	return c
}

func newTable(configs []table.ColumnConfig, bold bool) table.Writer {
	t := table.NewWriter()
	style := table.StyleLight
	style.Name = "tandem"
	style.Options = table.Options{SeparateHeader: true}
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	if bold {
		style.Color.Header = text.Colors{text.Bold}
	}
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	t.SetColumnConfigs(configs)
	return t
}

func appendRows(t table.Writer, cells [][]string) {
	for _, row := range cells {
		r := make(table.Row, len(row))
		for j, c := range row {
			r[j] = c
		}
		t.AppendRow(r)
	}
}

// gapAfter matches space at the end of a line, with the end of a style in it.
var gapAfter = regexp.MustCompile(` *((?:\x1b\[[0-9;]*m)*) *$`)

func shorten(s string, width int) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if text.StringWidthWithoutEscSequences(line) > width {
			lines[i] = text.Trim(line, max(1, width)-1) + "…"
		}
	}
	return strings.Join(lines, "\n")
}

// leastWidth limits how far a column is shortened: ids and numbers stay whole.
const leastWidth = 10

// columnWidths limits columns so that they fit into total, taking from the widest first; nil when
// nothing need be done or total is 0. fits is false when they do not fit even at leastWidth.
func columnWidths(columns []string, cells [][]string, total int) (limits []int, fits bool) {
	const gap = 2
	sum := 0
	need := make([]int, len(columns))
	for j, name := range columns {
		need[j] = text.LongestLineLen(name)
		for _, row := range cells {
			need[j] = max(need[j], text.LongestLineLen(row[j]))
		}
		sum += need[j] + gap
	}
	// The gap after the last column may hang over.
	if total <= 0 || sum-gap <= total {
		return nil, true
	}
	for sum-gap > total {
		widest := 0
		for j := range need {
			if need[j] > need[widest] {
				widest = j
			}
		}
		if need[widest] <= leastWidth {
			return need, false
		}
		need[widest]--
		sum--
	}
	return need, true
}

// Terminal reports whether w is a terminal, and its width in characters: 0 for what is none, or where the width is unknown.
func Terminal(w io.Writer) (is bool, width int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, 0
	}
	width, _ = TerminalSize(f)
	return true, width
}

// TerminalSize returns the width and the height of a terminal in characters, both 0 where they are unknown.
func TerminalSize(f *os.File) (width, height int) {
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}
