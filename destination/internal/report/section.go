package report

import (
	"strconv"

	g "maragu.dev/gomponents"
	"maragu.dev/gomponents/html"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/charts"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

func tableSections(tables []Table) g.Node {
	var all g.Group
	for i, t := range tables {
		title := sectionID(i) + "-title"
		all = append(all, html.Section(html.Class("table"), html.ID(sectionID(i)), html.Aria("labelledby", title),
			html.H2(html.ID(title), breakable(t.Name)),
			g.If(t.Error != "", html.P(html.Class("alert"), text(t.Error))),
			g.If(t.Comment != "", html.P(text(t.Comment))),
			g.If(t.Location != "", factsOf(t)),
			g.If(len(t.Histories) > 0, html.Div(html.Class("charts"), chartElements(sectionID(i)+"-chart", t.Histories))),
			t.Maintenance.element(),
			t.Changes.element(t.Name),
			g.If(len(t.FileSizes) > 1, fileSizesElement(t.FileSizes)),
			g.If(len(t.Commits) > 0, commitsElement(t)),
			g.If(len(t.Columns) > 0, columnsElement(t)),
			t.State.element(t.Name),
		))
	}
	return all
}

// chartElements are charts in their places, which the script finds by their ids.
func chartElements(prefix string, all []charts.Chart) g.Node {
	var figures g.Group
	for i, c := range all {
		f := figureOf(prefix, i, c)
		content := html.Div(html.Class("plot"))
		switch {
		case f.Error != "":
			content = html.P(html.Class("alert"), text(f.Error))
		case len(f.Times) == 0:
			content = html.P(g.Text("There are no values."))
		}
		figures = append(figures, html.Figure(html.Class("chart"), html.ID(f.ID),
			html.FigCaption(html.ID(f.ID+"-title"), html.H3(text(f.Title))),
			content,
			g.Map(f.Notes, func(note string) g.Node { return html.P(html.Class("note"), text(note)) }),
		))
	}
	return figures
}

// factsOf lists what is short to say of a table.
func factsOf(t Table) g.Node {
	stream := breakable(t.Stream)
	if t.Stream == "" {
		stream = g.Text("none: another program made the table")
	}
	var sizeOfAll g.Node
	if len(t.FileSizes) == 1 {
		sizeOfAll = g.Text(" " + t.FileSizes[0].label())
	}
	return html.Dl(html.Class("facts"),
		fact("Stream", stream),
		g.If(t.Error == "", g.Group{
			fact("Rows", number(t.Info.Rows)),
			fact("Files", counted(t.DataFiles, "data files"), sizeOfAll),
			fact("Size", size(t.Info.Bytes)),
			fact("Deletes", deletesOf(t)),
		}),
		fact("Last commit", moment(t.LastCommit)),
		g.If(len(t.PartitionBy) > 0, fact("Partitioned by", commaSeparated(t.PartitionBy))),
		g.If(len(t.SortBy) > 0, fact("Sorted by", commaSeparated(t.SortBy))),
		g.Iff(t.Changes != nil && len(t.Changes.Kinds) == 0, func() g.Node {
			return fact("Changed values", g.Text("none in "), t.Changes.looked())
		}),
		g.If(len(t.Maintenance.sentences()) == 0 && t.Maintenance.Unknown == "" && t.Error == "", fact("Maintenance due", g.Text("none"))),
		fact("Format", g.Text("Iceberg version "+strconv.Itoa(t.Format))),
		html.Div(html.Class("long"), html.Dt(g.Text("Location")), html.Dd(html.Code(text(t.Location)))),
	)
}

func deletesOf(t Table) g.Node {
	if t.deleteFiles() == 0 {
		return g.Text("none")
	}
	return g.Group{
		counted(t.deleteFiles(), "delete files"),
		g.If(t.DeletedRows > 0, g.Group{g.Text(", which hide "), counted(t.DeletedRows, "rows")}),
		g.If(t.EqualityDeletes > 0, g.Group{g.Text("; "), number(t.EqualityDeletes), g.Text(" of them are equality deletes, whose rows are not counted")}),
	}
}

func (m Maintenance) element() g.Node {
	sentences := m.sentences()
	return g.Group{
		g.If(len(sentences) > 0, g.Group{
			html.H3(g.Text("Maintenance due")),
			html.Ul(g.Map(sentences, func(s string) g.Node { return html.Li(text(s)) })),
			g.If(m.isDue(), html.P(html.Class("quiet"), html.Code(g.Text("destination maintain")),
				g.Text(" does it at once; after a write, only what is worth its cost is done."))),
		}),
		g.If(m.Unknown != "", g.Group{html.H3(g.Text("Maintenance due")), html.P(g.Text("Unknown: "), text(m.Unknown))}),
	}
}

// looked says which rows were looked at.
func (c *Changes) looked() g.Node {
	if c.All {
		return g.Text("all rows")
	}
	return g.Group{g.Text("the "), number(c.Read), g.Text(" rows of the last commits; older ones were not read")}
}

func (c *Changes) element(table string) g.Node {
	if c == nil || len(c.Kinds) == 0 {
		return nil
	}
	return g.Group{
		html.H3(g.Text("Changed values")),
		scrolling("Changed values of "+terminal.Text(table),
			html.Caption(g.Text("Values that did not fit, as "), html.Code(g.Text("_airbyte_meta.changes")), g.Text(" says in "), number(c.Rows), g.Text(" of "), c.looked()),
			head(column{"Reason", ""}, column{"Change", ""}, column{"Column", ""}, column{"Values", "n"}),
			html.TBody(
				g.Map(c.Kinds, func(k Change) g.Node {
					return html.Tr(html.Td(text(k.Reason)), html.Td(text(k.Change)), html.Td(text(k.Field)), numberCell(number(k.Count)))
				}),
				g.If(c.Other > 0, html.Tr(html.Td(html.ColSpan("3"), g.Text("others")), numberCell(number(c.Other)))),
			),
		),
	}
}

func fileSizesElement(sizes []SizeClass) g.Node {
	return g.Group{
		html.H3(g.Text("File sizes")),
		html.Table(html.Class("bars"),
			html.Caption(g.Text("Data files by size")),
			html.THead(html.Tr(
				html.Th(html.Scope("col"), g.Text("Size of a file")),
				html.Th(html.Scope("col"), html.Class("n"), g.Text("Files")),
				html.Th(html.Scope("col"), html.Class("n"), g.Text("Together")),
				html.Td(),
			)),
			html.TBody(g.Map(sizes, func(s SizeClass) g.Node {
				return html.Tr(rowHead(g.Text(s.label())), numberCell(number(s.Files)), numberCell(size(s.Bytes)),
					html.Td(html.Class("bar"), html.Aria("hidden", "true"),
						html.SVG(g.Attr("viewBox", "0 0 100 1"), g.Attr("preserveAspectRatio", "none"), g.El("rect", percentWidth(s.Percent), html.Height("1")))))
			})),
		),
	}
}

func commitsElement(t Table) g.Node {
	number64 := func(n int64) g.Node { return numberCell(number(n)) }
	all := counted(t.Snapshots.Listed, "commits")
	if len(t.Commits) < t.Snapshots.Listed {
		all = g.Group{g.Text("The last "), number(len(t.Commits)), g.Text(" of "), all}
	}
	return html.Details(
		html.Summary(g.Text("Commits")),
		scrolling("Commits of "+terminal.Text(t.Name),
			html.Caption(all, g.If(t.Snapshots.Expired, g.Text("; those before have expired"))),
			head(column{"Time (UTC)", ""}, column{"Operation", ""}, column{"Rows added", "n"}, column{"Rows removed", "n"},
				column{"Rows", "n"}, column{"Files", "n"}, column{"Size", "n"}, column{"Snapshot", "n"}),
			html.TBody(g.Map(t.Commits, func(c Commit) g.Node {
				totals := html.Td(html.ColSpan("3"), g.Text("unknown"))
				if c.Known {
					totals = g.Group{number64(c.Rows), number64(c.Files), numberCell(size(c.Bytes))}
				}
				return html.Tr(rowHead(timeElement(c.At, c.At.UTC().Format("2006-01-02 15:04:05"))), html.Td(text(c.Operation)),
					number64(c.Added), number64(c.Removed), totals, html.Td(html.Class("n id"), g.Text(strconv.FormatInt(c.Snapshot, 10))))
			})),
		),
	)
}

func columnsElement(t Table) g.Node {
	schemas := html.P(g.Text("The schema has not changed."))
	if len(t.Schemas) > 1 {
		schemas = g.Group{html.H3(g.Text("History of the schema")), html.Ol(html.Class("history"), g.Map(t.Schemas, SchemaChange.element))}
	}
	return html.Details(
		html.Summary(g.Text("Columns")),
		scrolling("Columns of "+terminal.Text(t.Name),
			html.Caption(counted(len(t.Columns), "columns"), g.Text(", also those in objects")),
			head(column{"Column", ""}, column{"Type", ""}, column{"Required", ""}, column{"Description", ""}),
			html.TBody(g.Map(t.Columns, func(c Column) g.Node {
				return html.Tr(rowHead(html.Class("in-"+strconv.Itoa(c.Depth)), breakable(c.Name)), html.Td(text(c.Type)),
					html.Td(g.If(c.Required, g.Text("yes"))), html.Td(html.Class("doc"), text(c.Doc)))
			})),
		),
		schemas,
	)
}

func (s SchemaChange) element() g.Node {
	since := g.Text("of no snapshot that is left")
	if !s.Since.IsZero() {
		since = g.Group{g.Text("since "), moment(s.Since), g.If(s.Before, g.Text(" or before"))}
	}
	changes := g.Map(s.Changes, func(change string) g.Node { return html.Li(text(change)) })
	if len(s.Changes) == 0 {
		changes = g.Group{html.Li(g.Text("the first one"))}
	}
	return html.Li(
		html.Strong(g.Text("Schema "+strconv.Itoa(s.ID)), g.If(s.Current, g.Text(" (current)"))), g.Text(", "), since,
		html.Ul(changes),
	)
}

func (s *State) element(table string) g.Node {
	if s == nil {
		return nil
	}
	return html.Details(
		html.Summary(g.Text("Last state")),
		html.P(g.Text("Committed "), moment(s.Committed), g.Text("."),
			g.If(s.Cut, g.Group{g.Text(" This is the beginning of "), size(s.Size), g.Text("; "), html.Code(g.Text("destination state")), g.Text(" prints all.")})),
		preformatted("Last state of "+terminal.Text(table), lines(s.Text)),
	)
}
