package journal

import (
	"bytes"
	"io"
)

// Tail returns the last records of a journal of a size, those in its last most bytes, and whether there are others before them. The
// name of the file tells the role of lines that are no records.
func Tail(file io.ReaderAt, size int64, name string, most int64) (records []Record, cut bool, err error) {
	from := max(0, size-most)
	text, err := io.ReadAll(io.NewSectionReader(file, from, size-from))
	if err != nil {
		return nil, false, err
	}
	if from > 0 {
		text = text[bytes.IndexByte(text, '\n')+1:] // the first line may have lost its beginning
	}
	for line := range bytes.Lines(text[:bytes.LastIndexByte(text, '\n')+1]) {
		records = append(records, parse(bytes.TrimRight(line, "\r\n"), name))
	}
	return records, from > 0, nil
}
