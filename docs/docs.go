// Package docs gives what the documentation says to programs that show it, so that it is written once.
package docs

import (
	_ "embed"
	"regexp"
	"strings"
)

// results describes the views of the results database.
//
//go:embed results.md
var results string

// View says what a view of the results database holds.
type View struct {
	Name    string      // v_runs
	Text    string      // Markdown of one paragraph: code and links
	Columns [][2]string // a table of columns and their meaning, Markdown too; nil where the text lists them
}

// Question is a question with a query that answers it.
type Question struct {
	Name  string // best-per-loss
	Title string // Best zero-shot accuracy per loss, and the run that has it
	SQL   string // names of parameters begin with a colon
}

var (
	viewStart  = regexp.MustCompile("(?m)^\\*\\*`(v_\\w+)`\\*\\* — ")
	query      = regexp.MustCompile("(?s)([^\n]+):\n\n```sql ([a-z-]+)\n(.*?)```")
	tableRow   = regexp.MustCompile(`(?m)^\| (.+?) \| (.+) \|$`)
	link       = regexp.MustCompile(`\[([^\]]+)\]\([^)]*\)`)
	whitespace = regexp.MustCompile(`\s+`)
)

// Views returns what docs/results.md says of the views, in its order.
func Views() []View {
	var all []View
	for _, at := range viewStart.FindAllStringSubmatchIndex(results, -1) {
		v := View{Name: results[at[2]:at[3]]}
		text, rest, _ := strings.Cut(results[at[1]:], "\n\n")
		v.Text = whitespace.ReplaceAllString(link.ReplaceAllString(text, "$1"), " ")
		if strings.HasPrefix(rest, "|") {
			table, _, _ := strings.Cut(rest, "\n\n")
			for _, row := range tableRow.FindAllStringSubmatch(table, -1)[1:] { // without its head
				v.Columns = append(v.Columns, [2]string{row[1], link.ReplaceAllString(row[2], "$1")})
			}
		}
		all = append(all, v)
	}
	return all
}

// Questions returns the questions of docs/results.md.
func Questions() []Question {
	var all []Question
	for _, m := range query.FindAllStringSubmatch(results, -1) {
		all = append(all, Question{Name: m[2], Title: m[1], SQL: strings.TrimSpace(m[3])})
	}
	return all
}
