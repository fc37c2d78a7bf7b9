package filter

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"math"
	"os"
	"testing"

	"tandem/core/media/vision"
)

func TestTextsAreRefusedForWhatTheyAre(t *testing.T) {
	rules := map[string]func(string) string{
		"length": DefaultLength.Refuse, "letters": DefaultLetters.Refuse, "boilerplate": Boilerplate{Phrases: []string{"Our team"}}.Refuse,
		"filename": func(s string) string { return FileName{}.Refuse(s, "https://a.example/img/red-kangaroo_02.jpg") },
		"language": DefaultLanguage.Refuse,
	}
	long := ""
	for range 65 {
		long += "word "
	}
	for rule, cases := range map[string]map[string]string{
		"length": {"kangaroo": TooShort, "a b": TooShort, "a kangaroo": "", long: TooLong, "": TooShort, "赤い犬です": "", "犬": TooShort, "© ® ™ – …": TooShort},
		"letters": {"a kangaroo in 1969": "", "12.5 % – 33.1 %": FewLetters, "0x3fa9 == 0b1101": FewLetters, "": FewLetters, "Красная собака": "",
			"चित्र में कुत्ता": ""},
		"boilerplate": {"Click here": IsBoilerplate, "Image 3 of 12": IsBoilerplate, "logo": IsBoilerplate, "Logo of the zoo": "", "our team": IsBoilerplate,
			"The picture": IsBoilerplate, "a picture of a kangaroo": "", "Photo © 2019 Jane": IsBoilerplate, "[Note]": IsBoilerplate, "": IsBoilerplate, "12": IsBoilerplate},
		"filename": {"IMG_1234": IsFileName, "DSC00012": IsFileName, "red-kangaroo_02": IsFileName, "Red-Kangaroo_02.JPG": IsFileName, "other.png": IsFileName,
			"1920x1080": IsFileName, "3fa9c0de77": IsFileName, "Screenshot 2020-01-02 11:12:13": IsFileName, "some_other_name": IsFileName,
			"a red kangaroo": "", "The file a.png": "", "Kangaroo 2": "", "decade": "", "photo 12": IsFileName},
		"language": {"three ways of using the pattern": "", "Ein roter Hund springt über den Zaun": AnotherLanguage, "Chien": ""},
	} {
		for text, want := range cases {
			if got := rules[rule](text); got != want {
				t.Errorf("%s: %.30q is %q, want %q", rule, text, got, want)
			}
		}
	}
}

func square(c ...color.Color) vision.Picture {
	p := vision.NewPicture(64, 64)
	for i := range 64 * 64 {
		r, g, b, _ := c[i*len(c)/(64*64)].RGBA()
		p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2] = byte(r>>8), byte(g>>8), byte(b>>8)
	}
	return p
}

func TestPicturesAreMeasured(t *testing.T) {
	one := Measure(nil, square(color.White))
	two := Measure(nil, square(color.White, color.Black))
	if one.Entropy != 0 || one.Commonest != 1 || math.Abs(two.Entropy-1) > 1e-9 || two.Commonest != 0.5 || two.W != 64 || two.H != 64 {
		t.Errorf("%+v, %+v", one, two)
	}
	data, err := os.ReadFile("../../media/vision/testdata/photos/face-444.jpg")
	if err != nil {
		t.Fatal(err)
	}
	photo, err := vision.Decode(data, vision.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m := Measure(data, photo); m.Entropy < 5 || m.Commonest > 0.5 || m.Animated || DefaultFlat.Refuse(m) != "" {
		t.Errorf("a photograph: %+v", m)
	}
}

func TestPicturesAreRefusedForWhatTheyAre(t *testing.T) {
	good := Measures{W: 640, H: 480, Entropy: 6, Commonest: 0.1}
	all := func(m Measures) string {
		for _, reason := range []string{DefaultSize.Refuse(m), DefaultAspect.Refuse(m), DefaultFlat.Refuse(m), Animated{}.Refuse(m)} {
			if reason != "" {
				return reason
			}
		}
		return ""
	}
	for want, change := range map[string]func(*Measures){
		"": func(*Measures) {}, TooSmall: func(m *Measures) { m.W = 63 }, TooManyPixels: func(m *Measures) { m.W, m.H = 1<<14, 1<<13 },
		TooNarrow: func(m *Measures) { m.H = 100 }, IsFlat: func(m *Measures) { m.Commonest = 0.99 }, IsAnimated: func(m *Measures) { m.Animated = true },
	} {
		m := good
		change(&m)
		if got := all(m); got != want {
			t.Errorf("%+v is %q, want %q", m, got, want)
		}
	}
}

func TestAnimationsAreToldFromPicturesOfOneFrame(t *testing.T) {
	frames := func(n int) []byte {
		g := &gif.GIF{}
		for range n {
			p := image.NewPaletted(image.Rect(0, 0, 8, 8), color.Palette{color.White, color.Black})
			g.Image, g.Delay = append(g.Image, p), append(g.Delay, 10)
		}
		var b bytes.Buffer
		if err := gif.EncodeAll(&b, g); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	png := "\x89PNG\r\n\x1a\n\x00\x00\x00\x08acTL\x00\x00\x00"
	webp := "RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00"
	for name, c := range map[string]struct {
		file []byte
		want bool
	}{
		"gif, one": {frames(1), false}, "gif, two": {frames(2), true}, "apng": {[]byte(png + "\x02\x00\x00\x00\x00crc4"), true},
		"apng, one": {[]byte(png + "\x01\x00\x00\x00\x00crc4"), false}, "webp": {[]byte(webp + "\x02\x00\x00\x00\x00"), true},
		"webp, one": {[]byte(webp + "\x10\x00\x00\x00\x00"), false}, "cut": {frames(2)[:14], false}, "none": {nil, false},
		"gif, bad blocks": {append(frames(1)[:20], bytes.Repeat([]byte{'!', 0xff, 0xff}, 100)...), false},
		"png, bad size":   {[]byte("\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR00000000"), false},
	} {
		if got := IsAnimation(c.file); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
