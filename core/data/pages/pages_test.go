package pages

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"tandem/core/fault"
)

const here = "https://a.example/docs/page.html"

func parse(t *testing.T, html string) *Page {
	t.Helper()
	p, err := Parse([]byte(html), "text/html; charset=utf-8", here, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// texts returns what a page says of its only picture, by kind.
func texts(t *testing.T, html string) map[string]string {
	t.Helper()
	p := parse(t, html)
	if len(p.Pictures) != 1 {
		t.Fatalf("%d pictures of %s", len(p.Pictures), html)
	}
	out := map[string]string{}
	for _, text := range p.Pictures[0].Texts {
		if was, two := out[text.Kind]; two {
			text.Text = was + " | " + text.Text
		}
		out[text.Kind] = text.Text
	}
	return out
}

func TestTextsAreFoundWithTheirKinds(t *testing.T) {
	got := texts(t, `<title>Animals
	  of the world</title><h1>Animals</h1><h2>Kangaroos</h2><figure><a href="big.jpg" title="Enlarge it"><img src="img/red-kangaroo_02.jpg"
	  alt=" A red   kangaroo&#10;jumps "></a><figcaption>Figure 3.1: A kangaroo in <b>Queens</b>land</figcaption></figure>`)
	want := map[string]string{Alt: "A red kangaroo jumps", Caption: "A kangaroo in Queensland", Title: "Enlarge it", Heading: "Kangaroos",
		FileName: "red kangaroo", PageName: "Animals of the world"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestCaptionsOfOtherProgramsAreFound(t *testing.T) {
	for name, c := range map[string][2]string{
		"DocBook": {`<div class="figure"><p class="title"><strong>Figure 7.27. Pattern usage</strong></p><div class="figure-contents"><div
			class="mediaobject"><img src="a.png"><div class="caption"><p>Three ways of using a pattern.</p></div></div></div></div>`, "Three ways of using a pattern."},
		"DocBook, title":  {`<div class="figure"><p class="title"><b>Figure 7. The box</b></p><div><img src="a.png"></div></div>`, "The box"},
		"Sphinx":          {`<div class="figure align-center"><img src="a.png"><p class="caption"><span>A tree</span><a class="headerlink" href="#x">¶</a></p></div>`, "A tree"},
		"Doxygen":         {`<div class="image"><img src="a.png"><div class="caption">Inheritance</div></div>`, "Inheritance"},
		"MediaWiki":       {`<div class="thumb"><div><a><img src="a.png"></a><div class="thumbcaption">A frog</div></div></div>`, "A frog"},
		"empty figure":    {`<figure><img src="a.png"><figcaption> </figcaption></figure>`, ""},
		"no figure":       {`<div><img src="a.png"><p class="caption">Of something else</p></div>`, ""},
		"a number alone":  {`<figure><img src="a.png"><figcaption>Fig. 12</figcaption></figure>`, ""},
		"a year and more": {`<figure><img src="a.png"><figcaption>1969: men on the moon</figcaption></figure>`, "1969: men on the moon"},
	} {
		if got := texts(t, c[0])[Caption]; got != c[1] {
			t.Errorf("%s: %q, want %q", name, got, c[1])
		}
	}
}

func TestTextNearbyIsThatAroundOtherwiseTheNearest(t *testing.T) {
	long := strings.Repeat("This sentence goes on and on. ", 40)
	for name, c := range map[string][2]string{
		"around":      {`<p>before</p><p>A frog <img src="a.png"> on a leaf</p>`, "A frog on a leaf"},
		"before":      {`<div><p>Far</p><p>Near</p><div><img src="a.png"></div><p>Behind</p></div>`, "Near"},
		"behind":      {`<div><img src="a.png"><script>x</script><p>Behind</p></div>`, "Behind"},
		"no scripts":  {`<div><script>var x</script><style>p{}</style><img src="a.png"></div>`, ""},
		"whole words": {`<p>` + long + `<img src="a.png"></p>`, strings.TrimSpace(strings.Repeat("This sentence goes on and on. ", 10))},
	} {
		if got := texts(t, c[0])[Nearby]; got != c[1] {
			t.Errorf("%s: %q, want %q", name, got, c[1])
		}
	}
}

func TestAddressesAreFoundWhereBrowsersWouldLoadThem(t *testing.T) {
	const at = "https://a.example/docs/"
	for name, c := range map[string]struct {
		html string
		want []string
	}{
		"relative":     {`<img src="../img/a.png?x=1#part">`, []string{"https://a.example/img/a.png?x=1"}},
		"base":         {`<base href="/other/"><img src="a.png">`, []string{"https://a.example/other/a.png"}},
		"base of file": {`<base href="file:///etc/"><img src="a.png">`, []string{at + "a.png"}},
		"other host":   {`<img src="//b.example/a.png">`, []string{"https://b.example/a.png"}},
		"lazy":         {`<img src="data:image/gif;base64,R0" data-src="a.png">`, []string{at + "a.png"}},
		"stand-in":     {`<img src="/spacer.gif" data-original="a.png">`, []string{at + "a.png", "https://a.example/spacer.gif"}},
		"srcset":       {`<img src="a.png" srcset="a-1.png 1x, a-3.png 3x, a-2.png 2x">`, []string{at + "a.png", at + "a-3.png", at + "a-2.png", at + "a-1.png"}},
		"picture":      {`<picture><source srcset="a.webp 800w"><img src="a.jpg"></picture>`, []string{at + "a.jpg", at + "a.webp"}},
		"noscript":     {`<noscript><img src="a.png"></noscript>`, []string{at + "a.png"}},
		"above root":   {`<img src="../../../a.png">`, []string{"https://a.example/a.png"}},
		"user":         {`<img src="https://me:secret@b.example/a.png">`, []string{"https://b.example/a.png"}},
		"blanks":       {"<img src=' \n a b.png '>", []string{at + "a%20b.png"}},
	} {
		p := parse(t, c.html)
		if len(p.Pictures) != 1 || !reflect.DeepEqual(p.Pictures[0].URLs, c.want) {
			t.Errorf("%s: %+v, want %q", name, p.Pictures, c.want)
		}
	}
}

func TestWhatIsNoPictureToUseIsCounted(t *testing.T) {
	p := parse(t, `<img><img src=""><img src="data:image/png;base64,xx"><img src="javascript:alert(1)"><img src="file:///etc/passwd">
		<img src="t.gif" width=1 height="1"><img src="t.gif" width="0px"><img src="%zz"><svg><image href="x"/></svg><img src="http://[::1">
		<img src="`+strings.Repeat("a", 3000)+`"><img src="ok.png" alt="`+strings.Repeat("word ", 4000)+`">`)
	want := map[string]int{"no address": 2, "data: address": 1, "bad address": 5, "tracking pixel": 2, "text cut": 1}
	if len(p.Pictures) != 1 || !reflect.DeepEqual(p.Skipped, want) {
		t.Errorf("%d pictures, %v, want %v", len(p.Pictures), p.Skipped, want)
	}
	in, err := Parse([]byte(`<img src="../../secret.png"><img src="../a/../../../b.png"><img src="../ok.png"><img src="/a/../../c.png">`), "",
		"folder://docs/sub/page.html", Limits{})
	if err != nil || len(in.Pictures) != 1 || in.Pictures[0].URLs[0] != "folder://docs/ok.png" || in.Skipped["outside the folder"] != 3 {
		t.Errorf("of a folder: %+v, %v", in, err)
	}
}

func TestOnePictureShownTwiceIsOneWithAllTexts(t *testing.T) {
	p := parse(t, `<img src="a.png" alt="one"><img src="b.png" alt="two"><img src="a.png" alt="three"><img src="a.png" alt="one">`)
	var alts []string
	for _, x := range p.Pictures[0].Texts {
		if x.Kind == Alt {
			alts = append(alts, x.Text)
		}
	}
	if len(p.Pictures) != 2 || !reflect.DeepEqual(alts, []string{"one", "three"}) {
		t.Errorf("%+v", p.Pictures)
	}
}

func TestDirectivesAreRead(t *testing.T) {
	p := parse(t, `<meta name="Robots" content="noindex, noai"><meta name="tdm-reservation" content="1"><p>x`)
	if !reflect.DeepEqual(p.Robots, []string{"noindex, noai"}) || !p.Reserved {
		t.Errorf("%+v", p)
	}
}

func TestEncodingsAreGuessedAsBrowsersDo(t *testing.T) {
	latin, err := Parse([]byte("<meta charset=iso-8859-1><img src=a.png alt='Caf\xe9'>"), "", here, Limits{})
	if err != nil || latin.Pictures[0].Texts[0].Text != "Café" {
		t.Errorf("%+v, %v", latin, err)
	}
	decomposed := parse(t, "<img src=a.png alt='Cafe\u0301 \u200bno\u00ad'>")
	if got := decomposed.Pictures[0].Texts[0].Text; got != "Café no" {
		t.Errorf("%q", got)
	}
}

func TestHostilePagesAreBoundedAndNamed(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, c := range map[string]struct{ html, reason string }{
		"a million pictures": {strings.Repeat("<img src=a>", 1_000_000), "too many tags"},
		"deep":               {strings.Repeat("<div>", 10_000) + "<img src=a>", "nested too deeply"},
		"deep, formatting":   {strings.Repeat("<b><i>", 10_000) + "<img src=a>", "nested too deeply"},
	} {
		if _, err := Parse([]byte(c.html), "", here, Limits{}); fault.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v, want %s", name, err, c.reason)
		}
	}
	runtime.ReadMemStats(&after)
	if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 100 {
		t.Errorf("took %d MiB", used)
	}
	var many strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&many, "<img src=%d.png>", i)
	}
	p := parse(t, many.String())
	if len(p.Pictures) != 5000 || p.Skipped["too many pictures"] != 15_000 {
		t.Errorf("%d pictures, %v", len(p.Pictures), p.Skipped)
	}
	if p := parse(t, ""); len(p.Pictures) != 0 {
		t.Errorf("an empty page: %+v", p)
	}
	// Figures within figures and many in one: the time is bounded by the test's own.
	nest := strings.Repeat("<figure><img src=a.png>", 400) + strings.Repeat("<p>text <i>more</i>", 50_000)
	parse(t, nest)
	parse(t, "<figure>"+strings.Repeat("<img src=b.png>x", 100_000))
	parse(t, "<img src=a.png "+strings.Repeat("a ", 1_000_000)+">")
	parse(t, "<table>"+strings.Repeat("<img src=a.png><tr><td>", 50_000))
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`<figure><img src="a.png" srcset="b 2x, c 1x"><figcaption>x</figcaption></figure>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		p, err := Parse(data, "", here, Limits{})
		if err != nil {
			return
		}
		for _, pic := range p.Pictures {
			for _, u := range pic.URLs {
				if !strings.HasPrefix(u, "http") {
					t.Errorf("address %q", u)
				}
			}
		}
	})
}
