package report

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	g "maragu.dev/gomponents"
	"maragu.dev/gomponents/html"
)

// document is the whole page.
func document(p Page) (g.Node, error) {
	drawn, err := json.Marshal(p.drawn()) // which escapes what would end a script
	if err != nil {
		return nil, err
	}
	return html.Doctype(html.HTML(html.Lang("en"),
		html.Head(
			html.Meta(html.Charset("utf-8")),
			html.Meta(g.Attr("http-equiv", "Content-Security-Policy"), html.Content(policy)),
			html.Meta(html.Name("viewport"), html.Content("width=device-width, initial-scale=1")),
			html.Meta(html.Name("color-scheme"), html.Content("light dark")),
			html.TitleEl(g.Text("Lake report, "+minute(p.Made)+" UTC")),
			html.Link(html.Rel("icon"), html.Href("data:,")),
			html.StyleEl(g.Raw(uplotCSS)),
			html.StyleEl(g.Raw(pageCSS)),
		),
		html.Body(
			g.If(len(p.Charts) > 0, html.A(html.Class("skip"), html.Href("#tables"), g.Text("Skip to the tables"))),
			header(p),
			html.Main(
				g.If(len(p.Charts) > 0, html.Section(html.ID("charts"), html.Aria("labelledby", "charts-title"),
					html.H2(html.ID("charts-title"), g.Text("Charts")),
					html.Div(html.Class("charts"), chartElements("chart", p.Charts)),
				)),
				overview(p.Tables),
				tableSections(p.Tables),
			),
			html.Footer(html.Details(
				html.Summary(g.Text("Licence of the charting library")),
				html.P(g.Text("The charts are drawn by uPlot.")),
				preformatted("Licence of uPlot", g.Text(uplotLicence)),
			)),
			html.NoScript(html.P(html.Class("alert"), g.Text("The charts need JavaScript."))),
			html.Script(html.Type("application/json"), html.ID("drawn"), g.Raw(string(drawn))),
			html.Script(g.Raw(uplotJS)),
			html.Script(g.Raw(pageJS)),
		),
	)), nil
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// header sums the lake up.
func header(p Page) g.Node {
	due := g.Text("none")
	if n := p.due(); n > 0 {
		due = counted(n, "tables")
	}
	say := " They say why."
	if p.Failed() == 1 {
		say = " It says why."
	}
	return html.Header(
		html.H1(g.Text("Lake report")),
		html.P(html.Class("where"), html.Code(text(p.Warehouse))),
		html.P(html.Class("quiet"), g.Text("Made "), timeElement(p.Made, minute(p.Made)+" UTC"),
			g.Text(" by destination "), text(p.Version), g.Text(", "), text(p.Catalog), g.Text(" catalog. All times and days are in UTC.")),
		html.Dl(html.Class("figures"),
			fact("Tables", number(len(p.Tables))),
			fact("Rows", number(p.rows())),
			fact("Size", size(p.bytes())),
			fact("Last commit", html.Class("moment"), moment(p.lastCommit())),
			fact("Maintenance due", due),
		),
		g.If(p.Failed() > 0, html.P(html.Class("alert"), html.Role("alert"),
			html.Strong(counted(p.Failed(), "parts"), g.Text(" of this page could not be read.")), g.Text(say))),
	)
}

// overview has a row for each table.
func overview(tables []Table) g.Node {
	var rows g.Group
	for i, t := range tables {
		name := rowHead(html.A(html.Href("#"+sectionID(i)), breakable(t.Name)))
		if t.Error != "" {
			rows = append(rows, html.Tr(name, html.Td(html.ColSpan("7"), html.Class("bad"), g.Text("could not be read"))))
			continue
		}
		due := "none"
		switch {
		case t.Maintenance.isDue():
			due = "yes"
		case t.Maintenance.Unknown != "":
			due = "unknown"
		}
		rows = append(rows, html.Tr(name,
			numberCell(number(t.Info.Rows)),
			wideNumberCell(number(t.DataFiles)),
			wideNumberCell(number(t.deleteFiles())),
			numberCell(size(t.Info.Bytes)),
			wideNumberCell(number(t.Snapshots.All)),
			wideCell(moment(t.LastCommit)),
			wideCell(g.Text(due)),
		))
	}
	content := html.Table(html.Class("overview"),
		html.Caption(g.Text("All tables of the catalog")),
		head(column{"Table", ""}, column{"Rows", "n"}, column{"Data files", "n wide"}, column{"Delete files", "n wide"}, column{"Size", "n"},
			column{"Snapshots", "n wide"}, column{"Last commit (UTC)", "wide"}, column{"Maintenance due", "wide"}),
		html.TBody(rows...),
	)
	if len(tables) == 0 {
		content = html.P(g.Text("The catalog has no tables."))
	}
	return html.Section(html.ID("tables"), html.Aria("labelledby", "tables-title"),
		html.H2(html.ID("tables-title"), g.Text("Tables")),
		content,
	)
}

// sectionID is the id of the section of a table.
func sectionID(i int) string { return fmt.Sprintf("table-%d", i) }

// percentWidth is the width of a bar, of 100.
func percentWidth(percent float64) g.Node {
	return html.Width(strconv.FormatFloat(percent, 'f', 1, 64))
}
