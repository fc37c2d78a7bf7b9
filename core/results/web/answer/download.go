package answer

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"tandem/core/fault"
	"tandem/core/results/ablation"
	"tandem/core/results/page"
	"tandem/core/results/report"
	"tandem/core/results/study"
)

// format is a way to write a table.
type format struct {
	ending, name, kind string
	write              func(ctx context.Context, p *pages, w io.Writer, t *ablation.Table) error
}

// formats are those of runner ablation --format that other programs read, and the report.
var formats = []format{
	{"md", "Markdown", "text/markdown; charset=utf-8", table(report.Markdown)},
	{"tex", "LaTeX", "application/x-tex; charset=utf-8", table(report.LaTeX)},
	{"csv", "CSV", "text/csv; charset=utf-8", table(report.CSV)},
	{"json", "JSON", "application/json", table(report.JSON)},
	{"html", "report in one file", "text/html; charset=utf-8", oneFile},
}

func table(f report.Format) func(context.Context, *pages, io.Writer, *ablation.Table) error {
	return func(_ context.Context, _ *pages, w io.Writer, t *ablation.Table) error {
		return report.Ablation(w, f, t)
	}
}

// oneFile writes what runner report does.
func oneFile(ctx context.Context, p *pages, w io.Writer, t *ablation.Table) error {
	all, err := page.Gather(ctx, p.site.Reader(), p.site.Albums, t, p.made())
	if err != nil {
		return err
	}
	return page.Write(w, all)
}

// download gives the table that a question asks for, as a file.
func (p *pages) download(w http.ResponseWriter, r *http.Request, f format) error {
	name := r.PathValue("experiment")
	q, err := parse(r.URL.Query())
	if err != nil {
		return err
	}
	t, err := study.Table(r.Context(), p.site.Reader(), name, q.options())
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := f.write(r.Context(), p, &out, t); err != nil {
		return fault.New(fault.Internal, "answer.%s: %w", f.ending, err)
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Content-Disposition", `attachment; filename="`+fileName(name)+"."+f.ending+`"`)
	_, _ = w.Write(out.Bytes()) // the client may be gone
	return nil
}

// fileName returns a name of letters, digits and a few marks that every system takes; others become "-".
func fileName(name string) string {
	clean := []byte(name)
	for i, c := range clean {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || i > 0 && (c == '.' || c == '_')) {
			clean[i] = '-'
		}
	}
	if len(clean) == 0 {
		return "answer"
	}
	return string(clean)
}
