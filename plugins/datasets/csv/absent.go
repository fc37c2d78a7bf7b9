package main

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/text/unicode/norm"

	"tandem/core/data/object"
	"tandem/core/plugin/sdk/sample"
)

// maxTries limits how many absent pictures are looked for under other names.
const maxTries = 50

// remarkOtherName says under which other name a missing picture exists, when one of the first missing ones does.
func remarkOtherName(set *sample.Set, r *rows) []string {
	if object.IsAddress(r.base) {
		return nil
	}
	for _, i := range set.MissingFirst(maxTries) {
		whole := r.whole(i)
		image := r.names.Get(int(r.pictures[whole]))
		if found := r.correctPath(image); found != "" {
			return []string{fmt.Sprintf("%s of line %d is not there: %s", image, r.lines[whole], found)}
		}
	}
	return nil
}

// correctPath returns how a missing picture's path has to be written to be found; "" when no such way is known.
func (r *rows) correctPath(image string) string {
	try := func(name, why string) string {
		if name == image {
			return ""
		}
		if info, err := os.Stat(r.place(name)); err == nil && info.Mode().IsRegular() {
			return fmt.Sprintf("%s is there (%s)", name, why)
		}
		return ""
	}
	slashes := strings.ReplaceAll(image, `\`, "/")
	plain, err := url.PathUnescape(image)
	if err != nil {
		plain = image
	}
	ending := path.Ext(image)
	stem := strings.TrimSuffix(image, ending)
	for _, other := range [][2]string{
		{slashes, "folders are separated by /"},
		{plain, "the table has it percent-encoded"},
		{"/" + strings.TrimLeft(strings.TrimPrefix(plain, "file:"), "/"), "a path is wanted, not an address"},
		{norm.NFC.String(image), "the same letters, composed: Unicode NFC"},
		{norm.NFD.String(image), "the same letters, decomposed: Unicode NFD"},
		{strings.TrimLeft(image, "/"), "without the slash the path is relative to the table's folder or root"},
		{strings.Trim(image, `"' `), "without the quotes"},
		{stem + strings.ToLower(ending), "capitals count"}, {stem + strings.ToUpper(ending), "capitals count"},
		{image + ".jpg", "the ending is part of the name"}, {image + ".png", "the ending is part of the name"},
		{path.Base(slashes), "without the folder; see root"},
		{path.Join(filepath.Base(r.place(".")), image), "see root"},
	} {
		if text := try(other[0], other[1]); text != "" {
			return text
		}
	}
	if _, below, ok := strings.Cut(slashes, "/"); ok {
		return try(below, "see root")
	}
	return ""
}
