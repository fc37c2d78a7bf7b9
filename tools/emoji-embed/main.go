// Command emoji-embed makes the emoji dataset's built-in pictures and names from the npm packages.
// From the repository root:
//
//	mkdir -p /tmp/emoji && cd /tmp/emoji
//	for p in emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 emojibase-data@17.0.0; do
//		npm pack $p; mkdir -p ${p%@*}; tar xzf ${p%@*}-${p#*@}.tgz -C ${p%@*} --strip-components 1; done
//	cd -; go run ./tools/emoji-embed /tmp/emoji plugins/datasets/emoji/data
//
// It writes emoji.jsonl and a sheet of 32-pixel pictures for each style, in the table's order, 32 a
// row. Pictures lie on white and are scaled as the evaluation transform would scale the originals.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/media/vision"
	"tandem/core/plugin/sdk/sample"
	"tandem/plugins/datasets/emoji/catalog"
)

const (
	count   = 512
	side    = 32
	columns = 32
)

// omitted subgroups are those whose members differ by text or by a detail that 32 pixels do not show.
var omitted = []string{"family", "person symbol", "alphanum", "keycap", "arrow", "av symbol", "transport sign", "gender",
	"currency", "math", "punctuation", "geometric", "zodiac"}

// alike lists the first words of labels of near-identical pictures; only one of each is taken.
var alike = []string{"-thirty", "o’clock"}

// atMost limits subgroups, by their first word, whose members are hard to tell apart.
var atMost = map[string]int{"face": 4, "hand": 4, "person": 4, "cat": 3}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: emoji-embed PACKAGES-FOLDER OUTPUT-FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(root, out string) error {
	all, err := catalog.Read(root)
	if err != nil {
		return err
	}
	chosen := choose(all)
	var table bytes.Buffer // one emoji a line
	encoder := json.NewEncoder(&table)
	encoder.SetEscapeHTML(false)
	for _, e := range chosen {
		if err := encoder.Encode(e); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(out, "emoji.jsonl"), table.Bytes(), 0o644); err != nil {
		return err
	}
	for _, vendor := range catalog.Vendors {
		if err := sheet(root, out, vendor, chosen); err != nil {
			return err
		}
	}
	return nil
}

// choose takes from every subgroup, fewer than in proportion from the large ones, evenly spaced in the
// order of the charts, since neighbours there look alike. One emoji of an identity is enough, and only
// emoji up to version 5 count: they are the better known.
func choose(all []catalog.Emoji) []catalog.Emoji {
	var subgroups []string
	members := map[string][]catalog.Emoji{}
	identities := map[string]bool{}
	for _, e := range all {
		if e.Version > 5 || slices.Contains(omitted, e.Subgroup) || identities[e.Identity] ||
			slices.ContainsFunc(alike, func(a string) bool { return strings.HasSuffix(e.Label, a) }) {
			continue
		}
		identities[e.Identity] = true
		if members[e.Subgroup] == nil {
			subgroups = append(subgroups, e.Subgroup)
		}
		members[e.Subgroup] = append(members[e.Subgroup], e)
	}
	quota := map[string]int{}
	for range count { // each seat to the subgroup that is furthest behind its share n^0.7
		best, behind := "", math.Inf(-1)
		for _, g := range subgroups {
			word, _, _ := strings.Cut(g, " ")
			limit := len(members[g])
			if n, ok := atMost[word]; ok {
				limit = min(limit, n)
			}
			if score := math.Pow(float64(len(members[g])), .7) / float64(quota[g]+1); quota[g] < limit && score > behind {
				best, behind = g, score
			}
		}
		quota[best]++
	}
	taken := map[string]bool{}
	for g, n := range quota {
		for i := range n {
			taken[members[g][i*len(members[g])/n].Hex] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(e catalog.Emoji) bool { return !taken[e.Hex] })
}

func sheet(root, out, vendor string, chosen []catalog.Emoji) error {
	p := vision.NewPicture(columns*side, (len(chosen)+columns-1)/columns*side)
	var tool vision.Resizer
	cell := vision.NewPicture(side, side)
	for i, e := range chosen {
		src, err := sample.ReadPicture(catalog.PicturePath(root, vendor, e.Image), vision.Options{})
		if err != nil {
			return err
		}
		tool.Evaluate(cell.Pix, src, side)
		to := p.Crop(i%columns*side, i/columns*side, side, side)
		for y := range side {
			copy(to.Row(y), cell.Row(y))
		}
	}
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&b, p.Image()); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, vendor+".png"), b.Bytes(), 0o644)
}
