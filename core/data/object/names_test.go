package object

import "testing"

func TestNamesAreJoinedToFoldersAndAddresses(t *testing.T) {
	for _, c := range [][3]string{
		{"/data/t", "a/b.png", "/data/t/a/b.png"}, {"/data/t", "../b.png", "/data/b.png"}, {"/data", "/b.png", "/b.png"}, {"data", "s3://x/y.png", "s3://x/y.png"},
		{"s3://x/sets/one", "a b%.png", "s3://x/sets/one/a b%.png"}, {"s3://x", "a.png", "s3://x/a.png"}, {"s3://x/sets/", "../../../a.png", "s3://x/a.png"},
		{"https://h/a%20b", "c d/é#1.png", "https://h/a%20b/c%20d/%C3%A9%231.png"}, {"https://h:8080", "./a.png", "https://h:8080/a.png"},
		{"http://h/x", "/a.png", "http://h/x/a.png"},
	} {
		if got := Join(c[0], c[1]); got != c[2] {
			t.Errorf("%s and %s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
	for name, want := range map[string]string{"/a/b.csv": "/a", "b.csv": ".", "https://h/a/b.csv?sig=/x": "https://h/a", "https://h/b.csv": "https://h", "s3://x": "s3://x"} {
		if got := Dir(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestNamesHaveACommonFolder(t *testing.T) {
	for want, names := range map[string][]string{"/a": {"/a/b.csv", "/a/c.csv"}, "/x": {"/x/a/b.csv", "/x/ab/c.csv"}, ".": {"a/b", "c/d"}, "/": {"/a/b", "/c/d"},
		"s3://x/p": {"s3://x/p/1/a", "s3://x/p/2/a"}, "https://h": {"https://h/a/1", "https://h/b/1"}} {
		if got := Common(names); got != want {
			t.Errorf("%q: %s, want %s", names, got, want)
		}
	}
}
