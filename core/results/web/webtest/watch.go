package webtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// watch notes what a tab tells about itself.
type watch struct {
	base string // all requests go there

	mu       sync.Mutex
	faults   []string
	open     map[network.RequestID]bool // requests under way, but for streams
	requests int
	bytes    float64
	status   int64 // of the newest document
}

// Faults returns what went wrong since it was last called.
func (w *watch) Faults() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.faults
	w.faults = nil
	return f
}

func (w *watch) loading() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open)
}

func (w *watch) fault(format string, a ...any) {
	if f := fmt.Sprintf(format, a...); !slices.Contains(w.faults, f) {
		w.faults = append(w.faults, f)
	}
}

// event takes an event of the browser.
func (tab *Tab) event(e any) {
	w := tab.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := e.(type) {
	case *network.EventRequestWillBeSent:
		w.request(e)
	case *network.EventResponseReceived:
		if e.Type == network.ResourceTypeDocument {
			w.status = e.Response.Status
		} else if e.Response.Status >= 400 {
			w.fault("%s answers %d", e.Response.URL, e.Response.Status)
		}
	case *network.EventLoadingFinished:
		delete(w.open, e.RequestID)
		w.bytes += e.EncodedDataLength
	case *network.EventLoadingFailed:
		delete(w.open, e.RequestID)
		if !e.Canceled {
			w.fault("a request failed: %s %s", e.Type, e.ErrorText)
		}
	case *log.EventEntryAdded:
		// The document's own status is compared with what is expected.
		status := e.Entry.Source == log.EntrySourceNetwork && strings.Contains(e.Entry.Text, "responded with a status of")
		if (e.Entry.Level == log.EntryLevelWarning || e.Entry.Level == log.EntryLevelError) && !status {
			w.fault("console %s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeAssert {
			var words []string
			for _, a := range e.Args {
				words = append(words, strings.Trim(string(a.Value), `"`)+a.Description)
			}
			w.fault("console %s: %s", e.Type, strings.Join(words, " "))
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
		w.fault("uncaught exception: %s", text)
	case *page.EventJavascriptDialogOpening:
		w.fault("a dialog opens: %q", e.Message)
		go func() { // the page stands still until it is closed
			_, _ = chromedp.Run(tab.ctx, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
				_, err := cdp.Call(ctx, t, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: false})
				return chromedp.Void{}, err
			})
		}()
	}
}

func (w *watch) request(e *network.EventRequestWillBeSent) {
	url := e.Request.URL
	if strings.HasPrefix(url, "data:") || strings.HasPrefix(url, "blob:") {
		return
	}
	if url != w.base && !strings.HasPrefix(url, w.base+"/") {
		w.fault("a request to another host: %s", url)
	}
	if e.Type != network.ResourceTypeEventSource {
		w.open[e.RequestID] = true
	}
	if e.RedirectResponse == nil {
		w.requests++
	}
}
