// Package catalog reads which emoji there are, what they are called and which of them depict the same
// thing, from the npm packages emojibase-data (names) and emoji-datasource-* (pictures).
package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
)

// Emoji describes one emoji. Lists of them have the order of the Unicode charts.
type Emoji struct {
	Hex      string   `json:"hex"` // code points in lower case: "1f600"
	Label    string   `json:"label"`
	Tags     []string `json:"tags"`
	Group    string   `json:"group"`    // "animals & nature"
	Subgroup string   `json:"subgroup"` // "animal mammal"
	// Identity groups emoji that differ in gender or skin tone only; splits keep them together.
	Identity string  `json:"identity"`
	Image    string  `json:"-"` // file name in a picture package
	Version  float64 `json:"-"` // of the emoji standard that brought it
	Tones    []Tone  `json:"-"` // skin tone variants
}

// Tone describes a skin tone variant of an emoji.
type Tone struct {
	Hex, Label, Image string
}

// Vendors lists the styles of the packages emoji-datasource-*, whose licences allow use here.
var Vendors = []string{"google", "twitter"}

// Fluent names the style of the package fluent-emoji-3d.
const Fluent = "fluent"

// hint tells how to get the packages.
const hint = "fetch the packages with: runner data get emoji"

// Read reads the packages unpacked below root as emojibase-data/ and emoji-datasource-<vendor>/. It
// leaves out flags, components and whatever one of the vendors or the name table lacks, so that the
// list does not depend on the styles used. A missing file is fault.NotFound, a broken one
// fault.Corrupt.
func Read(root string) ([]Emoji, error) {
	var names []struct {
		Label, Hexcode  string
		Tags            []string
		Group, Subgroup *int
		Version         float64
		Skins           []struct{ Label, Hexcode string }
	}
	var messages struct {
		Groups, Subgroups []struct {
			Message string
			Order   int
		}
	}
	var hierarchy struct{ Groups, Subgroups map[string]string }
	var pictures []struct {
		Unified, Image string
		Google         bool `json:"has_img_google"`
		Twitter        bool `json:"has_img_twitter"`
		Variations     map[string]struct {
			Unified, Image string
			Google         bool `json:"has_img_google"`
			Twitter        bool `json:"has_img_twitter"`
		} `json:"skin_variations"`
	}
	for _, f := range []struct {
		path string
		into any
	}{
		{"emojibase-data/en/data.json", &names},
		{"emojibase-data/en/messages.json", &messages},
		{"emojibase-data/meta/groups.json", &hierarchy},
		{"emoji-datasource-google/emoji.json", &pictures},
	} {
		if err := readJSON(filepath.Join(root, f.path), f.into); err != nil {
			return nil, err
		}
	}
	images := map[string]string{}
	for _, p := range pictures {
		if p.Google && p.Twitter {
			images[WithoutSelectors(p.Unified)] = p.Image
		}
		for _, v := range p.Variations {
			if v.Google && v.Twitter {
				images[WithoutSelectors(v.Unified)] = v.Image
			}
		}
	}
	groups := map[int]string{}
	for _, m := range messages.Groups {
		groups[m.Order] = m.Message
	}
	var out []Emoji
	for _, n := range names {
		image := images[WithoutSelectors(n.Hexcode)]
		if n.Group == nil || n.Subgroup == nil || image == "" {
			continue
		}
		group := hierarchy.Groups[fmt.Sprint(*n.Group)]
		if group == "component" || group == "flags" {
			continue
		}
		e := Emoji{Hex: strings.ToLower(n.Hexcode), Label: n.Label, Tags: n.Tags, Group: groups[*n.Group],
			Subgroup: strings.ReplaceAll(hierarchy.Subgroups[fmt.Sprint(*n.Subgroup)], "-", " "),
			Identity: Identity(n.Hexcode), Image: image, Version: n.Version}
		for _, s := range n.Skins {
			if image := images[WithoutSelectors(s.Hexcode)]; image != "" {
				e.Tones = append(e.Tones, Tone{Hex: strings.ToLower(s.Hexcode), Label: s.Label, Image: image})
			}
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Corrupt, "no emoji has a name and a picture").WithFile(root, 0, 0).WithHint(hint)
	}
	return out, nil
}

// PicturePath returns where a vendor's 64-pixel picture lies below root.
func PicturePath(root, vendor, image string) string {
	return filepath.Join(root, "emoji-datasource-"+vendor, "img", vendor, "64", image)
}

// FluentPictures returns the files of the style fluent below root by hex sequence (WithoutSelectors). A folder that is
// not there is fault.NotFound.
func FluentPictures(root string) (map[string]string, error) {
	dir := filepath.Join(root, "fluent-emoji-3d", "assets")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "no pictures of the style %s: no such folder: %s", Fluent, dir).WithHint(hint)
	}
	if err != nil {
		return nil, files.Error(dir, err)
	}
	out := make(map[string]string, len(entries))
	for _, e := range entries {
		if hex, ok := strings.CutSuffix(e.Name(), ".webp"); ok {
			out[WithoutSelectors(hex)] = filepath.Join(dir, e.Name())
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, "no .webp files in %s", dir).WithHint(hint)
	}
	return out, nil
}

func readJSON(path string, into any) error {
	data, err := files.Read(path, 64<<20)
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.NotFound {
		f.Hint = hint
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fault.New(fault.Corrupt, "%w", err).WithFile(path, 0, 0).WithHint(hint)
	}
	return nil
}

// WithoutSelectors returns a hex sequence without variation selectors, on which the packages disagree.
func WithoutSelectors(hex string) string {
	return strings.ReplaceAll(strings.ToUpper(hex), "-FE0F", "")
}
