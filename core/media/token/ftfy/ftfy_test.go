package ftfy

import (
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"
)

func TestTextsAreRepairedAsByThePythonLibrary(t *testing.T) {
	// Made by tools/goldens/token/random_texts.py; TANDEM_FTFY may name a longer list of its kind.
	path := os.Getenv("TANDEM_FTFY")
	if path == "" {
		path = "testdata/random.json"
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var pairs [][2]string
	if err := json.Unmarshal(data, &pairs); err != nil {
		t.Fatal(err)
	}
	changed, wrong := 0, 0
	for _, p := range pairs {
		if p[0] != p[1] {
			changed++
		}
		if got := FixText(p[0]); got != p[1] {
			if wrong++; wrong <= 20 {
				t.Errorf("%+q\n got %+q\nwant %+q", p[0], got, p[1])
			}
		}
	}
	if wrong > 0 || changed < 400 {
		t.Errorf("%d of %d texts are wrong, ftfy changes %d", wrong, len(pairs), changed)
	}
}

func TestRepairsWorthNaming(t *testing.T) {
	for text, want := range map[string]string{
		"âœ” No problems":                   "✔ No problems",
		"l’humanitÃ©":                       "l'humanité",
		"voilÃ le travail":                  "voilà le travail",
		"Ã s vezes":                         "às vezes",
		"P&EACUTE;REZ":                      "PÉREZ",
		"AHÅ™, the new sofa from IKEA®":     "AHÅ™, the new sofa from IKEA®",
		"<b>&eacute;</b>":                   "<b>&eacute;</b>",
		"&amp;amp;amp;amp;amp;amp;amp;amp;": "&",
		"ＬＯＵＤ　ＮＯＩＳＥＳ":                       "LOUD NOISES",
		"\x1b[36;44mblue\x1b[0m":            "blue",
		"bad \xff byte":                     "bad \uFFFD byte",
	} {
		if got := FixText(text); got != want {
			t.Errorf("%+q\n got %+q\nwant %+q", text, got, want)
		}
	}
}

func TestManyMarksOnOneLetterAreComposedAsInPython(t *testing.T) {
	marks := strings.Repeat("\u0344", 40)
	for text, want := range map[string]string{
		"e" + strings.Repeat("\u0316", 40) + "\u0301": "\u00e9" + strings.Repeat("\u0316", 40),
		"q" + marks: "q" + strings.Repeat("\u0308\u0301", 40),
		"e\u0323" + strings.Repeat("\u0f73", 20) + "\u0302": "\u1ec7" + strings.Repeat("\u0f71", 20) + strings.Repeat("\u0f72", 20),
		"\u1100\u1161\u11a8" + marks + "a\u030a":            "\uac01" + strings.Repeat("\u0308\u0301", 40) + "\u00e5",
	} {
		if got := FixText(text); got != want {
			t.Errorf("%+q\n got %+q\nwant %+q", text, got, want)
		}
	}
}

func TestUnescapeReadsNoReferenceTwice(t *testing.T) {
	for text, want := range map[string]string{
		"&#38;lt;": "&lt;", "&amp;lt;": "&lt;", "&copyright": "©right", "&#x;&#;": "&#x;&#;", "&#150;&#0;&#7;": "–\uFFFD", "&nGt;": "≫⃒",
	} {
		if got := Unescape(text); got != want {
			t.Errorf("%q: got %+q, want %+q", text, got, want)
		}
	}
}

// The memory that is copied must grow linearly with the text; quadratic growth would make it sixteen times as
// much for a text four times as long.
func TestTheWorkOfLongTextsGrowsAsTheText(t *testing.T) {
	for _, unit := range []string{"&amp;", "Ã©", "â€", "&#38;#38;", "é ", "à ² "} {
		if n, four := allocated(func() { FixText(strings.Repeat(unit, 5000)) }), allocated(func() { FixText(strings.Repeat(unit, 20000)) }); four > 8*n {
			t.Errorf("%q: %d bytes for 5,000 times, %d for 20,000", unit, n, four)
		}
	}
	FixText(strings.Repeat("&", 1) + strings.Repeat("amp;", 2000))
}

func allocated(work func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
