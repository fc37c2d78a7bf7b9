package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	hexcode "encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/plugins/datasets/emoji/catalog"
)

// data holds what tools/emoji-embed makes: the table and a sheet for each style.
//
//go:embed data/emoji.jsonl data/google.png data/twitter.png
var data embed.FS

// Cells of a sheet, in the order of the table.
const (
	cellSide     = 32
	sheetColumns = 32
)

// picture identifies one picture of an emoji.
type picture struct {
	emoji int    // position in the table
	tone  int    // position in the emoji's Tones, -1 for the emoji itself
	style string // vendor
}

// source provides pictures, from files or from what is built in.
type source struct {
	emoji []catalog.Emoji
	note  string
	path  func(picture) string         // of its file, "" where the style lacks the emoji; nil for what is built in
	open  func(picture) vision.Picture // what is built in
	sum   string                       // digest of that
}

func openSource(c Config) (*source, error) {
	if c.Root == "" {
		return builtIn()
	}
	emoji, err := catalog.Read(c.Root)
	if err != nil {
		var e *fault.Error
		if errors.As(err, &e) {
			e.Path = "with.root"
		}
		return nil, err
	}
	var fluent map[string]string
	if slices.Contains(c.Styles, catalog.Fluent) {
		if fluent, err = catalog.FluentPictures(c.Root); err != nil {
			return nil, err
		}
	}
	return &source{
		emoji: emoji,
		note:  fmt.Sprintf("%d emoji of emojibase-data (MIT), pictures %s", len(emoji), licences(c.Styles)),
		path: func(p picture) string {
			if p.style == catalog.Fluent {
				return fluent[catalog.WithoutSelectors(hex(emoji, p))]
			}
			return catalog.PicturePath(c.Root, p.style, image(emoji, p))
		},
	}, nil
}

// has reports whether the picture is there.
func (s *source) has(p picture) bool { return s.path == nil || s.path(p) != "" }

// licences names styles with their licences.
func licences(styles []string) string {
	var out []string
	for _, s := range styles {
		out = append(out, map[string]string{"google": "google (Noto, Apache-2.0)", "twitter": "twitter (Twemoji, CC-BY 4.0)",
			catalog.Fluent: "fluent (Fluent Emoji, MIT)"}[s])
	}
	return strings.Join(out, ", ")
}

// builtIn returns the table and the decoded sheets, read once in a process.
var builtIn = sync.OnceValues(readBuiltIn)

func readBuiltIn() (*source, error) {
	emoji, err := table()
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	sheets := map[string]vision.Picture{}
	for _, style := range catalog.Vendors {
		file, err := data.ReadFile("data/" + style + ".png")
		if err != nil {
			return nil, fault.New(fault.Internal, "%w", err)
		}
		h.Write(file)
		if sheets[style], err = vision.Decode(file, vision.Options{}); err != nil {
			return nil, err
		}
	}
	return &source{
		emoji: emoji,
		note:  fmt.Sprintf("%d built-in emoji of emojibase-data 17.0.0 (MIT), pictures %s", len(emoji), licences(catalog.Vendors)),
		open: func(p picture) vision.Picture {
			x, y := p.emoji%sheetColumns*cellSide, p.emoji/sheetColumns*cellSide
			return sheets[p.style].Crop(x, y, cellSide, cellSide)
		},
		sum: hexcode.EncodeToString(h.Sum(nil)),
	}, nil
}

func table() ([]catalog.Emoji, error) {
	file, err := data.ReadFile("data/emoji.jsonl")
	if err != nil {
		return nil, fault.New(fault.Internal, "%w", err)
	}
	var out []catalog.Emoji
	for d := json.NewDecoder(bytes.NewReader(file)); ; {
		var e catalog.Emoji
		if err := d.Decode(&e); err == io.EOF {
			return out, nil
		} else if err != nil {
			return nil, fault.New(fault.Internal, "built-in table: %w", err)
		}
		out = append(out, e)
	}
}

func image(emoji []catalog.Emoji, p picture) string {
	if p.tone >= 0 {
		return emoji[p.emoji].Tones[p.tone].Image
	}
	return emoji[p.emoji].Image
}

// pictureKey returns the stable name of a picture: "1f600/google".
func pictureKey(emoji []catalog.Emoji, p picture) string {
	return hex(emoji, p) + "/" + p.style
}

func hex(emoji []catalog.Emoji, p picture) string {
	if p.tone >= 0 {
		return emoji[p.emoji].Tones[p.tone].Hex
	}
	return emoji[p.emoji].Hex
}
