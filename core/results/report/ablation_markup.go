package report

import (
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"tandem/core/fault"
	"tandem/core/results/ablation"
)

func ablationMarkdown(w io.Writer, t *ablation.Table) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", markdown(capital(headline(t))+"."))
	for _, s := range sheets(t) {
		s.narrow(roomy, otherMetrics)
		if s.Title != "" {
			fmt.Fprintf(&b, "\n**%s**\n", markdown(s.Title))
		}
		if len(s.Rows) > 0 {
			tw := table.NewWriter()
			header, configs := table.Row{}, []table.ColumnConfig{}
			for j, c := range s.Columns {
				header = append(header, markdown(c.Name))
				if c.Right {
					configs = append(configs, table.ColumnConfig{Number: j + 1, Align: text.AlignRight})
				}
			}
			tw.AppendHeader(header)
			tw.SetColumnConfigs(configs)
			for _, l := range s.Rows {
				row := table.Row{}
				for _, e := range l.Entries {
					row = append(row, entryMarkdown(e))
				}
				tw.AppendRow(row)
			}
			fmt.Fprintf(&b, "\n%s\n", tw.RenderMarkdown())
		}
		for i, note := range s.Notes {
			if i == 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "- %s\n", markdown(boldNote(note)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func entryMarkdown(e entry) string {
	out := markdown(e.Text)
	if e.Best {
		out = "**" + out + "**"
	}
	if e.Marks != "" {
		out += " " + markdown(e.Marks)
	}
	return out
}

// boldNote says of the best mean that it is bold, where there is bold.
func boldNote(note string) string {
	if rest, found := strings.CutPrefix(note, bestMark+" "); found {
		return "Bold: " + rest
	}
	return note
}

var markdownEscapes = strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "~", `\~`, "<", "&lt;", "&", "&amp;", "$", `\$`, "[", `\[`, "]", `\]`, "#", `\#`)

func markdown(s string) string { return markdownEscapes.Replace(fault.PrintableLine(s)) }

func ablationLaTeX(w io.Writer, t *ablation.Table) error {
	var b strings.Builder
	b.WriteString("% \\usepackage{booktabs}\n")
	for i, s := range sheets(t) {
		s.narrow(roomy, otherMetrics)
		if len(s.Rows) == 0 {
			for _, note := range s.Notes {
				fmt.Fprintf(&b, "%% %s\n", fault.PrintableLine(strings.Join(strings.Fields(s.Title+": "+note), " ")))
			}
			continue
		}
		caption := s.Title
		if i == 0 {
			caption = t.Name
			if t.Description != "" {
				caption += ": " + t.Description
			}
			caption += ". " + capital(headline(t))
		}
		align := ""
		heads := make([]string, len(s.Columns))
		for j, c := range s.Columns {
			heads[j] = latex(c.Name)
			if c.Right {
				align += "r"
			} else {
				align += "l"
			}
		}
		fmt.Fprintf(&b, "\\begin{table}\n  \\centering\n  \\caption{%s.}\n  \\label{tab:%s-%s}\n  \\begin{tabular}{%s}\n    \\toprule\n    %s \\\\\n    \\midrule\n",
			latex(caption), label(t.Name), s.Class+suffix(s.Title, t), align, strings.Join(heads, " & "))
		for _, l := range s.Rows {
			cells := make([]string, len(l.Entries))
			for j, e := range l.Entries {
				cells[j] = entryLaTeX(e)
			}
			fmt.Fprintf(&b, "    %s \\\\\n", strings.Join(cells, " & "))
		}
		b.WriteString("    \\bottomrule\n  \\end{tabular}\n")
		if len(s.Notes) > 0 {
			b.WriteString("  \\par\\smallskip\\footnotesize\n")
			for _, note := range s.Notes {
				fmt.Fprintf(&b, "  %s\n", latex(boldNote(note)))
			}
		}
		b.WriteString("\\end{table}\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mathematics writes the signs of numbers in math mode. Braces keep a sign from being a relation with space around it.
var mathematics = strings.NewReplacer("±", `\pm`, "–", `\mbox{--}`, "<", "{<}", "%", `\%`, "[", `\;[`)

func entryLaTeX(e entry) string {
	marks := ""
	for _, m := range e.Marks {
		marks += map[string]string{significant: `\dagger`, within: `\sim`, flattered: `\ddagger`}[string(m)]
	}
	if marks != "" {
		marks = "^{" + marks + "}"
	}
	switch {
	case e.Number && e.Text != "" && e.Best:
		return `$\mathbf{` + mathematics.Replace(e.Text) + "}" + marks + "$"
	case e.Number && e.Text != "":
		return "$" + mathematics.Replace(e.Text) + marks + "$"
	case marks != "":
		return latex(e.Text) + "$" + marks + "$"
	}
	return latex(e.Text)
}

var latexEscapes = strings.NewReplacer(
	`\`, `\textbackslash{}`, "&", `\&`, "%", `\%`, "$", `\$`, "#", `\#`, "_", `\_`, "{", `\{`, "}", `\}`, "~", `$\sim$`, "^", `\textasciicircum{}`,
	"<", "$<$", ">", "$>$", "|", "$|$", `"`, "''", "±", `$\pm$`, "†", `$\dagger$`, "‡", `$\ddagger$`, "×", `$\times$`, "↑", `$\uparrow$`, "↓", `$\downarrow$`,
	"η²", `$\eta^2$`, "–", "--", "−", "$-$", "…", `\dots{}`, "·", `$\cdot$`, "≥", `$\ge$`, "≤", `$\le$`,
)

func latex(s string) string { return latexEscapes.Replace(fault.PrintableLine(s)) }

// suffix tells the sheets of further metrics apart.
func suffix(title string, t *ablation.Table) string {
	for _, m := range t.Metrics {
		if m.Name == title {
			return "-" + label(title)
		}
	}
	return ""
}

// label writes a name as a LaTeX label takes it.
func label(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, name)
}

var ablationTemplate = template.Must(template.New("ablation").Funcs(template.FuncMap{"bold": boldNote, "cell": cellClass, "text": fault.Printable}).Parse(
	`<div class="ablation">
<p class="ablation-headline">{{text .Headline}}.</p>
{{range .Sheets}}<section class="ablation-{{.Class}}">
{{if .Title}}<h3>{{text .Title}}</h3>
{{end}}{{if .Rows}}<div class="ablation-scroll"><table class="ablation-table">
<thead><tr>{{range .Columns}}<th{{if .Right}} class="number"{{end}} scope="col">{{text .Name}}</th>{{end}}</tr></thead>
<tbody>
{{range .Rows}}<tr{{if .Class}} class="{{.Class}}"{{end}}>{{range .Entries}}<td{{with cell .}} class="{{.}}"{{end}}>{{if .Best}}<strong>{{text .Text}}</strong>{{else}}{{text .Text}}{{end}}{{if .Marks}}<sup>{{.Marks}}</sup>{{end}}</td>{{end}}</tr>
{{end}}</tbody>
</table></div>
{{end}}{{if .Notes}}<ul class="ablation-notes">
{{range .Notes}}<li>{{bold (text .)}}</li>
{{end}}</ul>
{{end}}</section>
{{end}}</div>
`))

func cellClass(e entry) string {
	var classes []string
	if e.Number {
		classes = append(classes, "number")
	}
	if e.Best {
		classes = append(classes, "best")
	}
	if e.Class != "" {
		classes = append(classes, e.Class)
	}
	return strings.Join(classes, " ")
}

// AblationHTML writes the table as a fragment without styles: a div.ablation with a p.ablation-headline and a section for each
// part, .ablation-main, .ablation-predictions, .ablation-effects and .ablation-absent. A section has an h3 (not the first),
// a table.ablation-table in a div.ablation-scroll and a ul.ablation-notes, as far as there is something in them. A row of main is tr.baseline,
// tr.variant or tr.repeat, one of absent has its state: missing, running, failed, interrupted, stopped-early, tainted or
// no-finite-value. Cells are td.Number for numbers, with td.Best for the best mean, and td.better, td.worse, td.differs, td.none or
// td.unknown by the verdict. Marks are sup.
func AblationHTML(w io.Writer, t *ablation.Table) error {
	page := struct {
		Headline string
		Sheets   []sheet
	}{capital(headline(t)), sheets(t)}
	return ablationTemplate.Execute(w, page)
}
