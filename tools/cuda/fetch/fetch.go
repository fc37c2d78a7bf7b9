package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"tandem/core/fault"
)

// fetcher downloads and unpacks into a folder.
type fetcher struct {
	cache   string
	client  *http.Client
	pauses  []time.Duration // between tries
	stalled time.Duration   // a connection that gives nothing for so long is given up
	log     io.Writer
}

func newFetcher(cache string) *fetcher {
	return &fetcher{cache: cache, client: http.DefaultClient, log: os.Stderr, stalled: 30 * time.Second,
		pauses: []time.Duration{time.Second / 2, time.Second, 2 * time.Second}}
}

// fetch makes sure that a package lies unpacked and gives its folder. Several processes may ask for the
// same at once: one works, the others wait.
func (f *fetcher) fetch(ctx context.Context, p pack) (string, error) {
	folder := filepath.Join(f.cache, p.name+"-"+p.id())
	if there(folder) {
		return folder, nil
	}
	if err := os.MkdirAll(filepath.Join(f.cache, "archives"), 0o777); err != nil {
		return "", err
	}
	unlock, err := lock(folder + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if there(folder) {
		return folder, nil
	}
	archive, err := f.download(ctx, p)
	if err != nil {
		return "", err
	}
	unpacked, err := os.MkdirTemp(f.cache, ".unpack-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(unpacked)
	if err := unpack(ctx, archive, unpacked, p.files); err != nil {
		return "", err
	}
	if err := os.Chmod(unpacked, 0o755); err != nil {
		return "", err
	}
	return folder, os.Rename(unpacked, folder)
}

// id names what is unpacked: the archive's sum, and which files of it.
func (p pack) id() string {
	if len(p.files) == 0 {
		return p.sha256[:12]
	}
	sum := sha256.Sum256(fmt.Append(nil, p.sha256, p.files))
	return hex.EncodeToString(sum[:6])
}

// download gives the archive with the right sum: the one that lies there, or from the first URL that has it.
func (f *fetcher) download(ctx context.Context, p pack) (string, error) {
	file := filepath.Join(f.cache, "archives", path.Base(p.urls[0]))
	if sum, err := sumOf(file); err == nil && sum == p.sha256 {
		return file, nil
	}
	var last error
	for try := 0; try <= len(f.pauses); try++ {
		if try > 0 {
			select {
			case <-ctx.Done():
				return "", fault.New(fault.Canceled, "%s: interrupted", p.name)
			case <-time.After(f.pauses[try-1]):
			}
		}
		for _, url := range p.urls {
			if try == 0 {
				fmt.Fprintln(f.log, "fetching", url)
			}
			last = f.get(ctx, url, file+".part")
			if last != nil {
				continue
			}
			sum, err := sumOf(file + ".part")
			if err != nil {
				return "", err
			}
			if sum != p.sha256 {
				os.Remove(file + ".part") // nothing of it can be trusted
				last = fault.New(fault.Corrupt, "%s has the SHA-256 %s, want %s", url, sum, p.sha256)
				continue
			}
			return file, os.Rename(file+".part", file)
		}
	}
	if fault.KindOf(last) == fault.Corrupt {
		return "", last
	}
	return "", fault.New(fault.Unavailable, "%s cannot be fetched: %w", p.name, last).
		WithHint("with no network here, put %s into %s", path.Base(p.urls[0]), filepath.Dir(file))
}

// get downloads to a file, from where an earlier try ended.
func (f *fetcher) get(ctx context.Context, url, file string) error {
	out, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return err
	}
	defer out.Close()
	have, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	watch := time.AfterFunc(f.stalled, stop)
	defer watch.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if have > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	answer, err := f.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK: // all of it
		if err := out.Truncate(0); err != nil {
			return err
		}
		if _, err := out.Seek(0, io.SeekStart); err != nil {
			return err
		}
	case http.StatusPartialContent:
	case http.StatusRequestedRangeNotSatisfiable: // it was whole already; its sum decides
		return nil
	default:
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	body := &watched{answer.Body, func() { watch.Reset(f.stalled) }}
	n, err := io.Copy(out, body)
	if err == nil && answer.ContentLength >= 0 && n != answer.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return out.Close()
}

// watched tells of every read that gave something.
type watched struct {
	io.Reader
	read func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.read()
	}
	return n, err
}

func there(folder string) bool {
	info, err := os.Stat(folder)
	return err == nil && info.IsDir()
}

func sumOf(file string) (string, error) {
	in, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// lock waits for a file's lock; the system ends it with the process.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
