package report

import (
	"crypto/sha256"
	_ "embed" // the parts of the page
	"encoding/base64"
	"html/template"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	//go:embed uplot/uPlot.iife.min.js
	uplotJS string
	//go:embed uplot/uPlot.min.css
	uplotCSS string
	//go:embed uplot/LICENSE
	uplotLicence string // which wants to be in every copy
)

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"number": func(n any) string {
		if small, ok := n.(int); ok {
			return terminal.Number(int64(small))
		}
		return terminal.Number(n.(int64))
	},
	"counted": func(n any, plural string) string {
		if small, ok := n.(int); ok {
			return terminal.Counted(int64(small), plural)
		}
		return terminal.Counted(n.(int64), plural)
	},
	"size":    terminal.Size,
	"name":    breakable,
	"text":    terminal.Text,
	"lines":   lines,
	"machine": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"minute":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
	"second":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"styles":  func() []template.CSS { return []template.CSS{template.CSS(uplotCSS), template.CSS(pageCSS)} },
	"scripts": func() []template.JS { return []template.JS{template.JS(uplotJS), template.JS(pageJS)} },
	"figure":  figureOf,
	"licence": func() string { return uplotLicence },
	"policy":  func() string { return policy },
}).Parse(pageHTML))

// breakable is a name that a line may end in.
func breakable(name string) template.HTML {
	text := template.HTMLEscapeString(terminal.Text(name))
	return template.HTML(strings.NewReplacer(".", ".<wbr>", "_", "_<wbr>").Replace(text))
}

// lines is a text of several lines, each of which could deceive.
func lines(text string) string {
	var all []string
	for line := range strings.SplitSeq(text, "\n") {
		all = append(all, terminal.Text(line))
	}
	return strings.Join(all, "\n")
}

// policy is the content security policy of the page: it loads nothing, and runs and shows
// what is listed here.
var policy = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; " +
	"script-src " + hash(uplotJS) + " " + hash(pageJS) + "; style-src " + hash(uplotCSS) + " " + hash(pageCSS)

// hash is the source expression of an inline script or style.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
