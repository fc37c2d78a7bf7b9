package webtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"

	"github.com/chromedp/chromedp"
)

// axeDigest is the SHA-256 of axe.min.js 4.14.1, which tools/axe.sh fetches.
const axeDigest = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"

// axe returns the script of axe-core, or why there is none.
var axe = sync.OnceValues(func() (script, missing string) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err.Error()
	}
	data, err := os.ReadFile(filepath.Join(home, ".local/share/tandem/axe/axe.min.js"))
	if err != nil {
		return "", "there is no axe-core, so pages are not audited for accessibility: make axe fetches it"
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != axeDigest {
		return "", "axe.min.js is not that of axe-core 4.14.1: make axe fetches it again"
	}
	return string(data), ""
})

// rules run all rules of WCAG 2.1 A and AA, contrast among them. Of each fault they give the rule and the elements.
const rules = `axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], resultTypes: ["violations"] })
	.then(found => found.violations.map(v => v.id + " (" + v.help + "): " + v.nodes.slice(0, 3).map(n => n.target.join(" ") + " " +
		n.html.slice(0, 120) + " " + (n.any[0] ? n.any[0].message : "")).join("; ") + (v.nodes.length > 3 ? "; " + (v.nodes.length - 3) + " more" : "")))`

// Audits reports whether axe-core is there.
func Audits() bool { _, missing := axe(); return missing == "" }

// Audit returns which rules of accessibility (WCAG 2.1, levels A and AA) the page breaks. Without axe-core it says so in the test's log
// and returns nothing.
func (tab *Tab) Audit() []string {
	tab.t.Helper()
	script, missing := axe()
	if missing != "" {
		tab.t.Log(missing)
		return nil
	}
	ctx, cancel := context.WithTimeout(tab.ctx, limit)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[chromedp.Void](script+";0")); err != nil {
		tab.t.Fatalf("axe-core: %v", err)
	}
	return Eval[[]string](tab, rules)
}

// quoted writes a text as one of JavaScript.
func quoted(text string) string {
	data, _ := json.Marshal(text) // a string
	return string(data)
}
