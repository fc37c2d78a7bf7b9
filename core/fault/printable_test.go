package fault_test

import (
	"strings"
	"testing"

	"tandem/core/fault"
)

func TestPrintableEscapesWhatATerminalObeys(t *testing.T) {
	for in, want := range map[string]string{
		"plain – 猫 🏴\U000e0067\U000e007f 👩\u200d🚀": "plain – 猫 🏴\U000e0067\U000e007f 👩\u200d🚀",
		"\x1b]0;pwned\x07":            `\x1b]0;pwned\x07`,
		"\x1b]8;;http://x\x1b\\click": `\x1b]8;;http://x\x1b\click`,
		"100 %\rerror":                `100 %\rerror`,
		"a\u009b31m":                  `a\u009b31m`, // C1's CSI
		"cat\u202egpj.exe":            `cat\u202egpj.exe`,
		"a\u2066b\u2069\u200b\ufeff":  `a\u2066b\u2069\u200b\ufeff`,
		"a\u2028b":                    `a\u2028b`,
		"a\x9bb\xff":                  `a\x9bb\xff`, // bytes that are no UTF-8
		"a\x7f\b\x00":                 `a\x7f\x08\x00`,
		"two\n\tlines":                "two\n\tlines",
	} {
		if got := fault.Printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := fault.PrintableLine("two\n\tlines"); got != `two\n\tlines` {
		t.Errorf("on one line: %q", got)
	}
}

// What others wrote is in every part of an error.
func TestFormatEscapesEveryPart(t *testing.T) {
	const evil = "\x1b[2J\r"
	one := fault.New(fault.Invalid, "m%s", evil).WithHint("h%s", evil).WithDetail("d"+evil+"\nd").WithFile("f"+evil, 1, 1).WithPlugin("p" + evil)
	for _, err := range []error{one, fault.List{one, one}} {
		got := fault.Format(err)
		if strings.ContainsAny(got, "\x1b\r") || !strings.Contains(got, `h\x1b[2J\r`) || !strings.Contains(got, "\n    d\\x1b[2J\\r\n    d") {
			t.Errorf("%q", got)
		}
	}
}
