// Command bigtable writes tables of many rows and the small pictures that they name, to measure how large sets open:
//
//	go run ./tools/bigtable -rows 1000000 -pictures 10000 /tmp/big        table.csv, table.jsonl, pictures/…
//	go run ./tools/bigtable -rows 1000000 -pictures 1000000 /tmp/big      a file for each row, by hard links
//
// Row i names picture i modulo the number of pictures. Captions have 30 to 90 bytes.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log"
	"os"
	"path/filepath"
	"strings"
)

// distinct limits how many pictures are written; the others are links to them.
const distinct = 10_000

func main() {
	log.SetFlags(0)
	rows := flag.Int("rows", 1_000_000, "rows of a table")
	pictures := flag.Int("pictures", distinct, "picture files")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: bigtable [-rows N] [-pictures N] FOLDER")
	}
	if err := write(flag.Arg(0), *rows, *pictures); err != nil {
		log.Fatal(err)
	}
}

func write(folder string, rows, pictures int) error {
	for i := range pictures {
		name := filepath.Join(folder, picture(i))
		if i%1000 == 0 {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
		}
		if i >= distinct {
			if err := os.Link(filepath.Join(folder, picture(i%distinct)), name); err != nil {
				return err
			}
			continue
		}
		if err := draw(name, i); err != nil {
			return err
		}
	}
	csv, err := os.Create(filepath.Join(folder, "table.csv"))
	if err != nil {
		return err
	}
	jsonl, err := os.Create(filepath.Join(folder, "table.jsonl"))
	if err != nil {
		return err
	}
	a, b := bufio.NewWriter(csv), bufio.NewWriter(jsonl)
	fmt.Fprintln(a, "image,caption,kind")
	object := json.NewEncoder(b)
	for i := range rows {
		text, kind := caption(i), fmt.Sprint("kind ", i%37)
		fmt.Fprintf(a, "%s,\"%s\",%s\n", picture(i%pictures), text, kind)
		if err := object.Encode(map[string]string{"image": picture(i % pictures), "caption": text, "kind": kind}); err != nil {
			return err
		}
	}
	for _, err := range []error{a.Flush(), b.Flush(), csv.Close(), jsonl.Close()} {
		if err != nil {
			return err
		}
	}
	return nil
}

func picture(i int) string { return fmt.Sprintf("pictures/%04d/%07d.png", i/1000, i) }

func draw(name string, i int) error {
	m := image.NewRGBA(image.Rect(0, 0, 32, 32))
	for k := range 32 * 32 {
		m.SetRGBA(k%32, k/32, color.RGBA{uint8(i + k), uint8(i >> 8), uint8(k / 32 * 8), 255})
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := png.Encode(f, m); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

var words = strings.Fields("a photograph of the red fox, standing beside an old wooden house under grey clouds, with two birds in front")

func caption(i int) string {
	n := 4 + i%9
	return fmt.Sprintf("%s number %d", strings.Join(words[i%7:i%7+n], " "), i)
}
