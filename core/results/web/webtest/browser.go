// Package webtest opens pages in a real browser, a headless Chromium, and finds what is wrong with them: messages on the console,
// requests to other hosts, pages that are too wide or that move while they load, faults of accessibility, elements that the keyboard
// does not reach. It also measures what loading a page costs.
package webtest

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Browser is a running Chromium.
type Browser struct{ ctx context.Context }

// programs are tried in this order; $CHROMIUM names another.
var programs = []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"}

// Start starts a browser, which ends with the test. Without a browser on this machine the test is skipped, and says so.
func Start(t testing.TB) *Browser {
	t.Helper()
	program := find()
	if program == "" {
		t.Skip("there is no Chromium, so pages are not tested in a browser: apt-get install chromium, or CHROMIUM=PATH")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program),
		chromedp.NoSandbox, // the sandbox refuses to work as root; all pages are ours
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("hide-scrollbars", false),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-features", "Translate,OptimizationHints,MediaRouter"),
		chromedp.WSURLReadTimeout(2*time.Minute),
	)
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, closeBrowser := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s does not start: %v", program, err)
	}
	return &Browser{ctx}
}

func find() string {
	if named := os.Getenv("CHROMIUM"); named != "" {
		return named
	}
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Kill ends the browser at once, as a crash does. Its tabs are of no use any more.
func (b *Browser) Kill() { _ = chromedp.FromContext(b.ctx).Browser.Process().Kill() }
