package object

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
)

func TestBracesCountAndList(t *testing.T) {
	for pattern, want := range map[string][]string{
		"a-{08..10}.tar":  {"a-08.tar", "a-09.tar", "a-10.tar"},
		"{a,b}{0..1}":     {"a0", "a1", "b0", "b1"},
		"plain.tar":       {"plain.tar"},
		"x{}y{1,2}":       {"x{}y1", "x{}y2"},
		"open{1..2":       {"open{1..2"},
		"{3..1}":          {"3", "2", "1"},
		"{03..-1}":        {"{03..-1}"},
		"{0..99999999}":   {"{0..99999999}"},
		"s3://b/{0..1}/k": {"s3://b/0/k", "s3://b/1/k"},
	} {
		if got := Braces(pattern); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
	}
}

func TestPatternsAreListedInOrder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b-1.tar", "a-1.tar", "a-0.tar"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(context.Background(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.List(context.Background(), filepath.Join(dir, "{b,a}-*.tar"))
	want := []string{filepath.Join(dir, "b-1.tar"), filepath.Join(dir, "a-0.tar"), filepath.Join(dir, "a-1.tar")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.List(context.Background(), filepath.Join(dir, "c*")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no match: %v", err)
	}
	o, err := s.Open(context.Background(), got[1])
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	piece := make([]byte, 3)
	if _, err := o.ReadAt(piece, 4); err != nil || string(piece) != "tar" || o.Size() != 7 {
		t.Errorf("%q of %d bytes, %v", piece, o.Size(), err)
	}
}

func TestSettingsAreReadWithTheirUnits(t *testing.T) {
	for text, want := range map[string]int64{"20 GiB": 20 << 30, "500MB": 500e6, "0": 0, "1.5 kb": 1500, "": -1, "GiB": -1, "-1 GB": -1, "5 parsecs": -1} {
		if got, ok := parseBytes(text); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
	for text, want := range map[string]time.Duration{"5 min": 5 * time.Minute, "90s": 90 * time.Second, "1 h": time.Hour, "0 s": 0, "10": 0, "": 0} {
		if got, ok := parseSpan(text); ok != (want > 0) || ok && got != want {
			t.Errorf("%q: %s, %v", text, got, ok)
		}
	}
	_, err := Settings{CacheSize: "much", Patience: "5 min"}.Open(clip.DatasetConfig{})
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind != fault.Invalid || f.Path != "with.cache_size" {
		t.Errorf("%v", err)
	}
	s, err := DefaultSettings.Open(clip.DatasetConfig{CacheDir: "/c"})
	if err != nil || s.o != (Options{CacheDir: "/c/objects", CacheBytes: 20 << 30, Patience: 5 * time.Minute}) {
		t.Errorf("%+v, %v", s, err)
	}
}
