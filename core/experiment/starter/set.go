package starter

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/data/object"
	"tandem/core/data/parquet"
	"tandem/core/fault"
	"tandem/core/files"
)

// The plugins of sets that have a form of their own.
const (
	hfParquet  = "hf-parquet"
	webdataset = "webdataset"
	coco       = "coco"
)

// set looks at a file or folder that is a set of such a form, and reports whether it is one.
func (d *Data) set(ctx context.Context, path string, isDir bool) (bool, error) {
	if !isDir {
		switch ext := strings.ToLower(filepath.Ext(path)); {
		case ext == ".parquet":
			return d.parquet(ctx, []string{path}, path)
		case isShard(path):
			return true, d.shards([]string{path}, path)
		case ext == ".json":
			return d.annotations(path)
		}
		return false, nil
	}
	var parquets, shards, annotations []string
	for _, dir := range []string{path, filepath.Join(path, "data"), filepath.Join(path, "annotations")} {
		entries, _ := os.ReadDir(dir) // Look says what is wrong with path itself
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			switch {
			case files.Hidden(e.Name()) || e.IsDir():
			case strings.HasSuffix(strings.ToLower(name), ".parquet"):
				parquets = append(parquets, name)
			case isShard(name):
				shards = append(shards, name)
			case strings.HasSuffix(name, ".json"):
				annotations = append(annotations, name)
			}
		}
	}
	if len(parquets) > 0 {
		if is, err := d.parquet(ctx, parquets, filepath.Dir(parquets[0])); is || err != nil {
			return is, err
		}
	}
	if len(shards) > 0 {
		return true, d.shards(shards, filepath.Dir(shards[0]))
	}
	for _, name := range annotations { // captions_train… comes before captions_val…
		if !strings.Contains(filepath.Base(name), "captions") && !strings.HasPrefix(filepath.Base(name), "dataset_") {
			continue
		}
		if is, err := d.annotations(name); is || err != nil {
			return is, err
		}
	}
	return false, nil
}

func isShard(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, ".tar") || strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tar.zst") || strings.HasSuffix(name, ".tgz")
}

// parquet looks at Parquet files, and reports whether pictures are in them.
func (d *Data) parquet(ctx context.Context, names []string, path string) (bool, error) {
	store, err := object.New(ctx, object.Options{})
	if err != nil {
		return false, err
	}
	defer store.Close()
	rows := make([]int, len(names))
	captions := false
	for i, name := range names {
		obj, err := store.Open(ctx, name)
		if err != nil {
			return false, err
		}
		f, err := parquet.Open(obj)
		if err != nil {
			obj.Close()
			return false, err
		}
		rows[i] = int(f.Rows())
		if i == 0 {
			if !hasPictures(f) {
				obj.Close()
				return false, nil
			}
			captions = d.declared(f)
		}
		obj.Close()
	}
	of := func(part string) (n int) {
		for i, name := range names {
			if part == "" || strings.HasPrefix(filepath.Base(name), part+"-") {
				n += rows[i]
			}
		}
		return n
	}
	d.Plugin, d.Train, d.Captions = hfParquet, Part{Path: path, Pictures: of("")}, captions
	// Hugging Face names files after the parts of a set.
	for _, part := range []string{"validation", "val", "test"} {
		if of("train") > 0 && of(part) > 0 {
			d.Train.Pictures, d.Eval, d.Split = of("train"), &Part{Path: path, Pictures: of(part)}, part
			break
		}
	}
	return true, nil
}

// hasPictures reports whether a file has a column of bytes that are no texts.
func hasPictures(f *parquet.File) bool {
	for _, column := range f.Columns() {
		for _, l := range f.Under(column) {
			if l.Bytes && !l.Text && !l.Repeated {
				return true
			}
		}
	}
	return false
}

// declared takes the classes that a file declares, and reports whether it has captions.
func (d *Data) declared(f *parquet.File) bool {
	text, _ := f.Metadata("huggingface")
	var meta struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	_ = json.Unmarshal([]byte(text), &meta) // without it nothing is declared
	for _, column := range f.Columns() {
		var x struct {
			Type  string   `json:"_type"`
			Names []string `json:"names"`
		}
		if raw := meta.Info.Features[column]; raw != nil && json.Unmarshal(raw, &x) == nil && x.Type == "ClassLabel" && d.NClasses == 0 {
			d.NClasses, d.Classes = len(x.Names), x.Names[:min(len(x.Names), maxClasses)]
		}
	}
	captions := false
	for _, column := range []string{"caption", "captions", "text", "texts", "txt", "sentences", "alt"} {
		if !slices.Contains(f.Columns(), column) {
			continue
		}
		leaf, err := f.Texts(column)
		if err != nil {
			continue
		}
		captions = true
		scan := f.Scan([]parquet.Leaf{leaf})
		for cells := make([][]string, 1); f.Rows() > 0; {
			cells[0] = cells[0][:0]
			if scan.Next(cells) != nil || d.looked >= lookedAt {
				break
			}
			d.looked++
			for _, c := range cells[0] {
				d.words(c)
			}
		}
		scan.Close()
	}
	return captions
}

// shards looks at the beginning of the first of some tar files. How many pictures all of them hold is guessed from it.
func (d *Data) shards(names []string, path string) error {
	d.Plugin, d.Train, d.Captions = webdataset, Part{Path: path}, true
	if len(names) > 1 {
		d.Train.Path = filepath.Join(path, "*"+filepath.Ext(names[0]))
	}
	total, first := int64(0), int64(0)
	for i, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return files.Error(name, err)
		}
		if total += info.Size(); i == 0 {
			first = info.Size()
		}
	}
	if !strings.HasSuffix(strings.ToLower(names[0]), ".tar") {
		d.Train.Pictures = 1000 * len(names)
		d.Remarks = append(d.Remarks, fmt.Sprintf("compressed shards are not looked into: taken for 1000 pictures each in %d shards", len(names)))
		return nil
	}
	f, err := files.Open(names[0])
	if err != nil {
		return err
	}
	defer f.Close()
	const most = 64 << 20
	read := &io.LimitedReader{R: f, N: most}
	in := tar.NewReader(bufio.NewReader(read))
	pictures := 0
	for {
		h, err := in.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && pictures == 0 {
				return fault.New(fault.Corrupt, "no tar file: %w", err).WithFile(names[0], 0, 0)
			}
			break
		}
		switch ext := strings.ToLower(filepath.Ext(h.Name)); {
		case files.IsPicture(h.Name):
			pictures++
		case ext == ".txt" && h.Size < 1<<16:
			text, _ := io.ReadAll(in) // a shard that is cut off is the plugin's to name
			d.words(string(text))
		}
	}
	if pictures == 0 {
		return fault.New(fault.Invalid, "no pictures at the beginning of the shard").WithFile(names[0], 0, 0).
			WithHint("want members such as 000.jpg and 000.txt")
	}
	d.Train.Pictures = int(int64(pictures) * total / max(1, min(most-read.N, first)))
	d.Remarks = append(d.Remarks, fmt.Sprintf("%d shards; the number of pictures is guessed from the first", len(names)))
	return nil
}

// annotations looks at a file of COCO's captions or of Karpathy's splits, and reports whether it is one.
func (d *Data) annotations(path string) (bool, error) {
	f, err := files.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	named, split, train, captions := 0, 0, 0, 0
	in := bufio.NewReaderSize(f, 1<<20)
	for first := true; ; first = false {
		part, err := in.ReadSlice('}')
		if first && !strings.HasPrefix(strings.TrimSpace(string(part[:min(len(part), 100)])), "{") {
			return false, nil
		}
		squeezed := bytes.ReplaceAll(part, []byte(" "), nil)
		named += bytes.Count(squeezed, []byte(`"file_name":`))
		split += bytes.Count(squeezed, []byte(`"filename":`))
		train += bytes.Count(squeezed, []byte(`"split":"train"`)) + bytes.Count(squeezed, []byte(`"split":"restval"`))
		captions += bytes.Count(squeezed, []byte(`"caption":`)) + bytes.Count(squeezed, []byte(`"raw":`))
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return false, files.Error(path, err)
		}
	}
	if captions == 0 || named+split == 0 {
		return false, nil
	}
	d.Plugin, d.Captions, d.Words = coco, true, 16
	d.Train = Part{Path: path, Pictures: named}
	switch {
	case train > 0:
		d.Train.Pictures = train
		d.Eval, d.Split = &Part{Path: path, Pictures: split - train}, "val"
	case split > 0:
		d.Train.Pictures = split
	default: // COCO has a file for each part
		if val := strings.Replace(path, "train", "val", 1); val != path && isFile(val) {
			d.Eval = &Part{Path: val}
		}
	}
	return true, nil
}

// withSet returns the settings of the plugin for a part of such a set.
func (d *Data) withSet(p Part, dir string, train bool) []setting {
	at := scalar(relative(dir, p.Path))
	split := func(out []setting) []setting {
		if d.Split == "" {
			return out
		}
		if train {
			return append(out, setting{"split", "train", ""})
		}
		return append(out, setting{"split", d.Split, ""})
	}
	switch d.Plugin {
	case hfParquet:
		out := split([]setting{{"files", "[" + at + "]", "columns are those that the files declare; docs/datasets.md names the others"}})
		if !d.Captions {
			out = append(out, setting{"templates", `["a photo of a {}", "a {}", "a picture of a {}"]`, "captions; {} is the name of the class"})
		}
		return out
	case webdataset:
		return []setting{{"shards", "[" + at + "]", ""}}
	}
	return split([]setting{{"annotations", at, "root: names the folder of the pictures, if it is not beside them"}})
}
