package export

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"tandem/core/results/store"
)

// Table writes the rows of a query as a Parquet file. A column is of the type that all its values have: whole numbers, numbers, truths
// or times; any other is text, and bytes are written in hexadecimal. Every value may be missing. Names that are there twice get a number.
func Table(w io.Writer, t *store.Table) error {
	v := store.View{Name: "query"}
	taken := map[string]bool{}
	for j, name := range t.Columns {
		name = strings.ToValidUTF8(name, "?")
		if name == "" {
			name = "column"
		}
		unique := name
		for n := 2; taken[unique]; n++ {
			unique = fmt.Sprintf("%s_%d", name, n)
		}
		taken[unique] = true
		v.Columns = append(v.Columns, store.ViewColumn{Name: unique, Type: typeOf(t.Rows, j), Optional: true})
	}
	out := newTable(w, v)
	row := make([]any, len(t.Columns))
	for _, values := range t.Rows {
		for j, value := range values {
			row[j] = as(value, v.Columns[j].Type)
		}
		if err := out.add(row); err != nil {
			return fileFault(err)
		}
	}
	if err := out.close(); err != nil {
		return fileFault(err)
	}
	return nil
}

// typeOf returns the type of a column.
func typeOf(rows [][]any, column int) store.Type {
	var types []store.Type
	for _, row := range rows {
		t := store.Text
		switch row[column].(type) {
		case nil:
			continue
		case int64:
			t = store.Int
		case float64:
			t = store.Float
		case bool:
			t = store.Bool
		case time.Time:
			t = store.Time
		}
		if !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	switch {
	case len(types) == 1:
		return types[0]
	case len(types) == 2 && slices.Contains(types, store.Int) && slices.Contains(types, store.Float):
		return store.Float
	}
	return store.Text
}

// as returns a value of a column's type.
func as(value any, t store.Type) any {
	switch v := value.(type) {
	case nil:
		return nil
	case int64:
		if t == store.Float {
			return float64(v)
		}
	case []byte:
		return hex.EncodeToString(v)
	}
	if t == store.Text {
		return strings.ToValidUTF8(fmt.Sprint(value), "\ufffd")
	}
	return value
}
