package files

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/fault"
)

// PictureEndings lists the file name endings that pictures have, in lower case.
var PictureEndings = []string{".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
	".pbm", ".pnm"}

// IsPicture reports whether a file's name ends as that of a picture.
func IsPicture(name string) bool {
	return slices.Contains(PictureEndings, strings.ToLower(filepath.Ext(name)))
}

// litterNames lists folders and files that operating systems leave among people's own.
var litterNames = []string{"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "Thumbs.db", "desktop.ini"}

// Hidden reports whether a file or folder is passed over because of its name: it begins with a dot, or it is
// one that operating systems leave behind (__MACOSX, Thumbs.db).
func Hidden(name string) bool {
	return strings.HasPrefix(name, ".") || slices.Contains(litterNames, name)
}

// maxVisits limits how often one folder is entered, by whatever links. Without it folders that link to each
// other would take time exponential in their number.
const maxVisits = 64

// Listing tells what lies below a folder. Names are relative to it, with slashes, and sorted.
type Listing struct {
	Pictures []string
	Dangling []string       // links with a picture's name, or none, that lead nowhere
	Loops    []string       // links to a folder that they lie in, or that was entered too often
	Special  []string       // pipes, sockets and devices with a picture's name
	Empty    []string       // folders directly in it without a picture below
	Texts    []string       // files directly in it that hold the path of a folder: links that were written as text
	Others   map[string]int // number of files that are no pictures by their names, by ending in lower case
}

// Pictures lists the pictures below a folder, as torchvision's ImageFolder finds them: it follows links to
// files and to folders, and endings may be in capitals. It passes over hidden files and folders. The folder
// itself may be a link and may be hidden. A folder that cannot be read is an error.
func Pictures(ctx context.Context, root string) (*Listing, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, Error(root, err)
	}
	if !info.IsDir() {
		err := fault.New(fault.Invalid, "this is no folder").WithFile(root, 0, 0)
		if info.Mode().IsRegular() && isTextLink(root) {
			err.WithHint("it is a text with the path of one, where a link was meant (git without core.symlinks?)")
		}
		return nil, err
	}
	w := walker{ctx: ctx, root: root, visits: map[[2]uint64]int{}, out: &Listing{Others: map[string]int{}}}
	if err := w.folder("", []fs.FileInfo{info}); err != nil {
		return nil, err
	}
	for _, list := range [][]string{w.out.Pictures, w.out.Dangling, w.out.Loops, w.out.Special, w.out.Empty, w.out.Texts} {
		slices.Sort(list)
	}
	return w.out, nil
}

type walker struct {
	ctx    context.Context
	root   string
	visits map[[2]uint64]int // by device and inode
	out    *Listing
}

// folder lists a folder. above holds the folders on the way to it, itself last.
func (w *walker) folder(name string, above []fs.FileInfo) error {
	if err := w.ctx.Err(); err != nil {
		return fault.New(fault.Canceled, "%w", err)
	}
	path := filepath.Join(w.root, filepath.FromSlash(name))
	entries, err := os.ReadDir(path)
	if err != nil {
		return Error(path, err)
	}
	for _, e := range entries {
		if Hidden(e.Name()) {
			continue
		}
		below := e.Name()
		if name != "" {
			below = name + "/" + below
		}
		mode := e.Type()
		var info fs.FileInfo
		if mode&fs.ModeSymlink != 0 || mode.IsDir() {
			if info, err = os.Stat(filepath.Join(path, e.Name())); err != nil {
				if mode&fs.ModeSymlink != 0 && (IsPicture(below) || filepath.Ext(below) == "") {
					w.out.Dangling = append(w.out.Dangling, below)
				}
				continue // a link that leads nowhere, or a folder that went while we looked
			}
			mode = info.Mode()
		}
		switch {
		case mode.IsDir():
			if w.visited(info, above) {
				w.out.Loops = append(w.out.Loops, below)
				continue
			}
			before := len(w.out.Pictures)
			if err := w.folder(below, append(slices.Clip(above), info)); err != nil {
				return err
			}
			if name == "" && len(w.out.Pictures) == before {
				w.out.Empty = append(w.out.Empty, below)
			}
		case !IsPicture(below):
			if name == "" && mode.IsRegular() && isTextLink(filepath.Join(path, e.Name())) {
				w.out.Texts = append(w.out.Texts, below)
			}
			w.out.Others[strings.ToLower(filepath.Ext(below))]++
		case mode.IsRegular():
			w.out.Pictures = append(w.out.Pictures, below)
		default:
			w.out.Special = append(w.out.Special, below)
		}
	}
	return nil
}

// isTextLink reports whether a file holds nothing but the path of a folder. Git writes links so where it may
// not make them.
func isTextLink(path string) bool {
	info, err := os.Stat(path)
	if err != nil || info.Size() == 0 || info.Size() > 1024 {
		return false
	}
	text, err := Read(path, 1024)
	if err != nil {
		return false
	}
	to := strings.TrimSpace(string(text))
	if to == "" || strings.ContainsAny(to, "\n\x00") {
		return false
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(path), to)
	}
	info, err = os.Stat(to)
	return err == nil && info.IsDir()
}

// visited reports whether a folder is one of those above it, or was entered too often.
func (w *walker) visited(folder fs.FileInfo, above []fs.FileInfo) bool {
	if slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, folder) }) {
		return true
	}
	device, inode := deviceInode(folder)
	if inode == 0 {
		return len(above) > maxVisits
	}
	w.visits[[2]uint64{device, inode}]++
	return w.visits[[2]uint64{device, inode}] > maxVisits
}

// Remarks returns sentences on what was passed over but may have been meant.
func (l *Listing) Remarks() []string {
	var out []string
	say := func(list []string, one, many string) {
		switch len(list) {
		case 0:
		case 1:
			out = append(out, fmt.Sprintf("%s %s", list[0], one))
		default:
			out = append(out, fmt.Sprintf("%d %s, the first is %s", len(list), many, list[0]))
		}
	}
	say(l.Dangling, "is a link that leads nowhere", "links lead nowhere")
	say(l.Loops, "is a link to a folder that it lies in, and is not followed", "links lead to folders that they lie in, and are not followed")
	say(l.Special, "is a pipe, socket or device, and is passed over", "files are pipes, sockets or devices, and are passed over")
	say(l.Texts, "is a text with the path of a folder, where a link was meant (git without core.symlinks?), and is passed over",
		"files are texts with the path of a folder, where links were meant (git without core.symlinks?), and are passed over")
	say(l.Empty, "is a folder without pictures", "folders have no pictures")
	for _, ending := range []string{".heic", ".heif", ".avif", ".jp2", ".jxl", ".svg", ".tga", ".psd", ".ico", ".raw", ".cr2", ".nef", ".dng", ".npy",
		".tar", ".zip", ".parquet"} {
		if n := l.Others[ending]; n > 0 {
			out = append(out, fmt.Sprintf("%d files ending in %s are passed over: this format is not read", n, ending))
		}
	}
	return out
}
