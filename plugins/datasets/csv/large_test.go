package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/core/clip"
)

// TestMain serves as the process that TestAMillionRows looks at.
func TestMain(m *testing.M) {
	if with := os.Getenv("TANDEM_TEST_OPEN"); with != "" {
		if err := openAlone(with); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// openAlone opens a set, reads a batch of it, and prints the number of samples, the seconds that this took and the most memory of
// the process in KiB.
func openAlone(with string) error {
	began := time.Now()
	d := Plugin.New()
	info, err := d.Configure(context.Background(), clip.DatasetConfig{With: json.RawMessage(with), ImageSize: 32, Threads: 2})
	if err != nil {
		return err
	}
	if _, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{0, info.Len / 2, info.Len - 1}, Train: true}); err != nil {
		return err
	}
	took := time.Since(began)
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			fmt.Println(info.Len, took.Seconds(), strings.Fields(rest)[0])
		}
	}
	return nil
}

// A million rows of 10,000 pictures open in little memory, merged and each for itself. Most of the time goes into the rows.
func TestAMillionRows(t *testing.T) {
	if os.Getenv("TANDEM_LONG") == "" {
		t.Skip("TANDEM_LONG is not set")
	}
	const rows, pictures, most = 1_000_000, 10_000, 500 << 10
	dir := t.TempDir()
	png, err := os.ReadFile(filepath.Join(filepath.Dir(folder(t, "")), "a.png"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range pictures {
		name := filepath.Join(dir, fmt.Sprintf("pictures/%d/%d.png", i/1000, i))
		if i%1000 == 0 {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(name, png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var csv, jsonl strings.Builder
	csv.WriteString("image,caption,kind\n")
	for i := range rows {
		fmt.Fprintf(&csv, "pictures/%d/%d.png,\"a photograph, number %d, of something that takes some words\",kind %d\n", i%pictures/1000, i%pictures, i, i%pictures%37)
		fmt.Fprintf(&jsonl, "{\"caption\":\"a photograph, number %d, of something that takes some words\",\"image\":\"pictures/%d/%d.png\",\"kind\":\"kind %d\"}\n", i, i%pictures/1000, i%pictures, i%pictures%37)
	}
	for name, text := range map[string]string{"t.csv": csv.String(), "t.jsonl": jsonl.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		for mode, want := range map[string]int{"merge": pictures, "separate": rows} {
			with, _ := json.Marshal(map[string]any{"file": filepath.Join(dir, name), "same_image": mode, "label_column": "kind"})
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "TANDEM_TEST_OPEN="+string(with))
			out, err := cmd.Output()
			var n, kib int
			var seconds float64
			if _, scan := fmt.Sscan(string(out), &n, &seconds, &kib); err != nil || scan != nil {
				t.Fatalf("%s: %v, %q", name, err, out)
			}
			t.Logf("%s, %s: %d samples in %.1f s and %d MiB", name, mode, n, seconds, kib>>10)
			if n != want || kib > most {
				t.Errorf("%s, %s: %d samples, want %d; %d MiB, of %d at most", name, mode, n, want, kib>>10, most>>10)
			}
		}
	}
}
