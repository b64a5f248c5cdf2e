package report

import (
	escape "html"
	"strings"
	"time"

	g "maragu.dev/gomponents"
	"maragu.dev/gomponents/html"

	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// The page is put together from elements in Go. A template would look methods up by their
// names at run time, so that the linker would keep every method of every library: that is
// a quarter of the program.

// text is a text that comes from a table or a configuration.
func text(s string) g.Node { return g.Text(terminal.Text(s)) }

func number[N int | int64](n N) g.Node { return g.Text(terminal.Number(int64(n))) }

func counted[N int | int64](n N, plural string) g.Node {
	return g.Text(terminal.Counted(int64(n), plural))
}

func size(bytes int64) g.Node { return g.Text(terminal.Size(bytes)) }

// breakable is a name that a line may end in.
func breakable(name string) g.Node {
	return g.Raw(strings.NewReplacer(".", ".<wbr>", "_", "_<wbr>").Replace(escape.EscapeString(terminal.Text(name))))
}

// lines is a text of several lines, each of which could deceive.
func lines(text string) g.Node {
	var all []string
	for line := range strings.SplitSeq(text, "\n") {
		all = append(all, terminal.Text(line))
	}
	return g.Text(strings.Join(all, "\n"))
}

// commaSeparated is texts in a row.
func commaSeparated(all []string) g.Node {
	var list g.Group
	for i, s := range all {
		list = append(list, g.If(i > 0, g.Text(", ")), text(s))
	}
	return list
}

// moment is a point of time to the minute.
func moment(t time.Time) g.Node {
	if t.IsZero() {
		return g.Text("never")
	}
	return timeElement(t, t.UTC().Format("2006-01-02 15:04"))
}

// timeElement is a point of time in a form of its own.
func timeElement(t time.Time, shown string) g.Node {
	return html.Time(html.DateTime(t.UTC().Format(time.RFC3339)), g.Text(shown))
}

// fact is an entry of a list of facts.
func fact(name string, value ...g.Node) g.Node {
	return html.Div(html.Dt(g.Text(name)), html.Dd(value...))
}

// A column of a table on the page; class n is for numbers, wide for what a phone has no room for.
type column struct{ name, class string }

func head(columns ...column) g.Node {
	return html.THead(html.Tr(g.Map(columns, func(c column) g.Node {
		return html.Th(html.Scope("col"), g.If(c.class != "", html.Class(c.class)), g.Text(c.name))
	})))
}

// rowHead is the cell that names a row.
func rowHead(children ...g.Node) g.Node { return html.Th(html.Scope("row"), g.Group(children)) }

func numberCell(value g.Node) g.Node { return html.Td(html.Class("n"), value) }

func wideCell(value g.Node) g.Node { return html.Td(html.Class("wide"), value) }

func wideNumberCell(value g.Node) g.Node { return html.Td(html.Class("n wide"), value) }

// scrolling is a table that may be wider than the page. The keyboard can scroll it.
func scrolling(label string, table ...g.Node) g.Node {
	return html.Div(html.Class("scroll"), html.Role("region"), html.Aria("label", label), html.TabIndex("0"), html.Table(table...))
}

// preformatted is a text as it is.
func preformatted(label string, content g.Node) g.Node {
	return html.Pre(html.TabIndex("0"), html.Aria("label", label), content)
}
