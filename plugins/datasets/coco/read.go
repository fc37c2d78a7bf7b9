package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"tandem/core/data/object"
	"tandem/core/data/table"
	"tandem/core/fault"
)

// entry is an element of "images": of COCO's own files, or of Karpathy's with its sentences.
type entry struct {
	ID        *int64 `json:"id"`
	COCO      *int64 `json:"cocoid"` // Karpathy's
	FileName  string `json:"file_name"`
	Name      string `json:"filename"` // Karpathy's
	Folder    string `json:"filepath"` // Karpathy's, of COCO: "val2014"
	Split     string `json:"split"`
	Sentences []struct {
		Raw string `json:"raw"`
	} `json:"sentences"`
}

// note is an element of "annotations": a caption, or a thing in a picture.
type note struct {
	Image    int64   `json:"image_id"`
	Caption  string  `json:"caption"`
	Category int64   `json:"category_id"`
	Area     float64 `json:"area"`
}

// category is an element of "categories".
type category struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// handlers take the elements of the lists in a file. i is the place in its list.
type handlers struct {
	image      func(i int, x entry) error
	annotation func(i int, x note) error
	category   func(i int, x category) error
	broken     func(list string, i int, err error) error // an element of another kind
}

// readFile reads a file of annotations, compressed or not, element by element: the whole of it does not fit into memory well.
func readFile(ctx context.Context, store *object.Store, name string, h handlers) error {
	obj, err := store.Open(ctx, name)
	if err != nil {
		return err
	}
	defer obj.Close()
	plain, closer, err := table.Decompress(name, io.NewSectionReader(obj, 0, obj.Size()))
	if err != nil {
		return err
	}
	if closer != nil {
		defer closer.Close()
	}
	d := json.NewDecoder(plain)
	bad := func(err error) error {
		if _, ok := err.(*fault.Error); ok || err == nil {
			return err
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fault.New(fault.Corrupt, "at byte %d: %w", d.InputOffset(), err).WithFile(name, 0, 0).WithReason("corrupt shard")
	}
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		if err == nil {
			err = fmt.Errorf("begins with %v, want an object with images and annotations", first)
		}
		return bad(err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return bad(err)
		}
		switch key {
		case "images":
			err = elements(ctx, d, "images", h.broken, h.image)
		case "annotations":
			err = elements(ctx, d, "annotations", h.broken, h.annotation)
		case "categories":
			err = elements(ctx, d, "categories", h.broken, h.category)
		default:
			err = d.Decode(&json.RawMessage{})
		}
		if err != nil {
			return bad(err)
		}
	}
	_, err = d.Token()
	return bad(err)
}

// elements calls do with each element of a list.
func elements[T any](ctx context.Context, d *json.Decoder, list string, broken func(string, int, error) error, do func(int, T) error) error {
	if first, err := d.Token(); err != nil {
		return err
	} else if first != json.Delim('[') {
		return fmt.Errorf("%q begins with %v, want a list", list, first)
	}
	for i := 0; d.More(); i++ {
		if i%4096 == 0 && ctx.Err() != nil {
			return fault.New(fault.Canceled, "%w", ctx.Err())
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		if do == nil {
			continue
		}
		var x T
		err := json.Unmarshal(raw, &x)
		if err != nil {
			err = broken(list, i, err)
		} else {
			err = do(i, x)
		}
		if err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// clean returns a caption without the spaces around it: many of COCO's end with a line break.
func clean(text string) string { return strings.TrimSpace(text) }
