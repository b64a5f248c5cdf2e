package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// A printer prints rows one after another.
type printer interface {
	row(inspect.Row) error
	end() error
}

func rowPrinter(env cli.Env, o previewOptions, columns []inspect.Column) printer {
	isTerminal := terminal.Is(env.Stdout)
	switch {
	case o.json:
		return jsonRows{env.Stdout}
	case o.csv:
		return &csvRows{out: env.Stdout, columns: columns, escape: isTerminal}
	case isTerminal:
		return newTerminalRows(env, columns)
	}
	return &plainRows{out: env.Stdout}
}

type jsonRows struct{ out io.Writer }

func (p jsonRows) row(row inspect.Row) error {
	text, err := terminal.JSON(row)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.out, text)
	return err
}

func (jsonRows) end() error { return nil }

// csvRows prints comma-separated values as RFC 4180 has them. A package of the Go
// library would change the line ends in a text, and could not tell null from "".
type csvRows struct {
	out     io.Writer
	columns []inspect.Column
	escape  bool // for a terminal
	begun   bool
}

func (p *csvRows) row(row inspect.Row) error {
	if err := p.begin(); err != nil {
		return err
	}
	line := make([]string, len(row))
	for i, c := range row {
		if c.Value == nil {
			continue
		}
		text, isText := c.Value.(string)
		if !isText {
			var err error
			if text, err = terminal.JSON(c.Value); err != nil {
				return err
			}
		}
		line[i] = p.field(text)
	}
	return p.write(line)
}

func (p *csvRows) end() error { return p.begin() }

// begin prints the names of the columns.
func (p *csvRows) begin() error {
	if p.begun {
		return nil
	}
	p.begun = true
	names := make([]string, len(p.columns))
	for i, c := range p.columns {
		names[i] = p.field(c.Name)
	}
	return p.write(names)
}

func (p *csvRows) field(text string) string {
	if p.escape {
		text = terminal.Text(text)
	}
	if text != "" && !strings.ContainsAny(text, "\",\r\n") {
		return text
	}
	return `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
}

func (p *csvRows) write(fields []string) error {
	_, err := io.WriteString(p.out, strings.Join(fields, ",")+"\r\n")
	return err
}

// plainRows prints a row as a block of lines with a column and its value each, for
// programs that read text.
type plainRows struct {
	out io.Writer
	n   int
}

func (p *plainRows) row(row inspect.Row) error {
	width := 0
	names := make([]string, len(row))
	for i, c := range row {
		names[i] = terminal.Text(c.Name)
		width = max(width, terminal.TextWidth(names[i]))
	}
	p.n++
	var b strings.Builder
	fmt.Fprintf(&b, "-- row %d\n", p.n)
	for i, c := range row {
		text, err := valueText(c.Value)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s%*s  %s\n", names[i], width-terminal.TextWidth(names[i]), "", text)
	}
	_, err := io.WriteString(p.out, b.String())
	return err
}

func (*plainRows) end() error { return nil }

// valueText is a value as a person reads it. A text that would look like null or like
// nothing is in quotes.
func valueText(value any) (string, error) {
	text, isText := value.(string)
	if !isText {
		return terminal.JSON(value)
	}
	if text == "" || text == "null" || strings.HasPrefix(text, `"`) {
		return terminal.JSON(text)
	}
	return terminal.Text(text), nil
}

// terminalRows prints rows at a terminal: as a table, or as a list for each row if the
// first rows do not fit.
type terminalRows struct {
	screen *terminal.Screen
	width  int
	first  []inspect.Row // that decide about the form
	cells  [][]terminal.Cell
	size   int // of the text of those cells
	table  terminal.Table
	form   func(inspect.Row) error // nil: not decided
	n      int
}

const (
	decidingRows  = 100
	decidingBytes = 1 << 20
)

// screenOf is standard output as a screen, and how wide it is.
func screenOf(env cli.Env) (screen *terminal.Screen, width int) {
	const usual = 80 // of a terminal that does not say
	width = terminal.Width(env.Stdout)
	if width == 0 {
		width = usual
	}
	return terminal.NewScreen(env.Stdout, false, env.Getenv), width
}

func newTerminalRows(env cli.Env, columns []inspect.Column) *terminalRows {
	p := &terminalRows{}
	p.screen, p.width = screenOf(env)
	for _, c := range columns {
		p.table.Headings = append(p.table.Headings, terminal.Text(c.Name))
	}
	return p
}

func (p *terminalRows) row(row inspect.Row) error {
	if p.form != nil {
		return p.form(row)
	}
	cells, err := cellsOf(row)
	if err != nil {
		return err
	}
	p.first, p.cells = append(p.first, row), append(p.cells, cells)
	for _, c := range cells {
		p.size += len(c.Text)
	}
	if len(p.first) < decidingRows && p.size < decidingBytes {
		return nil
	}
	return p.end()
}

// end prints the rows that were read until it is decided how.
func (p *terminalRows) end() error {
	if p.form != nil {
		return nil
	}
	if p.table.Fit(p.cells, p.width) {
		p.form = p.writeRow
		return p.table.Write(p.screen, p.cells)
	}
	p.form = p.writeList
	for _, row := range p.first {
		if err := p.form(row); err != nil {
			return err
		}
	}
	p.first, p.cells = nil, nil
	return nil
}

func (p *terminalRows) writeRow(row inspect.Row) error {
	cells, err := cellsOf(row)
	if err != nil {
		return err
	}
	return p.table.WriteRow(p.screen, cells)
}

// writeList prints a row with a line for each column, also for those of objects.
func (p *terminalRows) writeList(row inspect.Row) error {
	row = flat(row, "")
	names := make([]string, len(row))
	for i, c := range row {
		names[i] = terminal.Text(c.Name)
	}
	cells, err := cellsOf(row)
	if err != nil {
		return err
	}
	p.n++
	return terminal.WriteList(p.screen, fmt.Sprintf("row %d", p.n), names, cells, p.width)
}

// flat is a row with the columns of its objects, named with dots.
func flat(row inspect.Row, in string) (columns inspect.Row) {
	for _, c := range row {
		c.Name = in + c.Name
		if object, ok := c.Value.(inspect.Row); ok && len(object) > 0 {
			columns = append(columns, flat(object, c.Name+".")...)
			continue
		}
		columns = append(columns, c)
	}
	return columns
}

func cellsOf(row inspect.Row) ([]terminal.Cell, error) {
	cells := make([]terminal.Cell, len(row))
	for i, c := range row {
		var err error
		if cells[i].Text, err = valueText(c.Value); err != nil {
			return nil, err
		}
		_, cells[i].Right = c.Value.(json.Number)
		cells[i].Quiet = c.Value == nil
	}
	return cells, nil
}
