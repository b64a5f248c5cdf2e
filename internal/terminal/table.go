package terminal

import (
	"fmt"
	"io"
	"strings"
)

// A Cell is text in a table for people. It is safe for a terminal: see Text and JSON.
type Cell struct {
	Text  string
	Right bool // stands at the right, as numbers do
	Quiet bool // stands back, as what is missing does
}

// A Table is a heading for each column and rows below it. Columns that are too wide
// for the terminal are cut.
type Table struct {
	Headings []string
	widths   []int
	right    []bool
}

// leastWidth is to how many columns a column may be cut. It leaves a time whole.
const leastWidth = 24

// leastListWidth is to how many columns a value in a list may be cut. It leaves a UUID
// whole, even if the line then goes on in the next one.
const leastListWidth = 36

// gap is how many columns are between two columns.
const gap = 2

// Fit lays out the table for the rows that it begins with. It returns false if the
// terminal, which is width columns wide, is too narrow for columns that can be read.
func (t *Table) Fit(rows [][]Cell, width int) bool {
	t.widths, t.right = make([]int, len(t.Headings)), make([]bool, len(t.Headings))
	for i, heading := range t.Headings {
		t.widths[i] = TextWidth(heading)
		for _, row := range rows {
			t.widths[i] = max(t.widths[i], TextWidth(row[i].Text))
			t.right[i] = t.right[i] || row[i].Right
		}
	}
	total := gap * (len(t.widths) - 1)
	for _, w := range t.widths {
		total += w
	}
	for ; total > width; total-- { // the widest column gets narrower, whichever it is by then
		widest := 0
		for i, w := range t.widths {
			if w > t.widths[widest] {
				widest = i
			}
		}
		if len(t.widths) == 0 || t.widths[widest] <= leastWidth {
			return false
		}
		t.widths[widest]--
	}
	return true
}

// Write writes the headings and rows.
func (t *Table) Write(s *Screen, rows [][]Cell) error {
	headings := make([]Cell, len(t.Headings))
	for i, heading := range t.Headings {
		headings[i] = Cell{Text: heading, Right: t.right[i]}
	}
	if err := t.writeLine(s, headings, Heading); err != nil {
		return err
	}
	for _, row := range rows {
		if err := t.WriteRow(s, row); err != nil {
			return err
		}
	}
	return nil
}

// WriteRow writes one more row.
func (t *Table) WriteRow(s *Screen, row []Cell) error { return t.writeLine(s, row, "") }

func (t *Table) writeLine(s *Screen, row []Cell, style Style) error {
	var b strings.Builder
	for i, c := range row {
		text := Cut(c.Text, t.widths[i])
		blanks := strings.Repeat(" ", t.widths[i]-TextWidth(text))
		switch {
		case style != "":
			text = s.Styled(text, style)
		case c.Quiet:
			text = s.Styled(text, Quiet)
		}
		right := t.right[i] && (c.Right || c.Quiet)
		if right {
			b.WriteString(blanks)
		}
		b.WriteString(text)
		if i == len(row)-1 {
			break
		}
		if !right {
			b.WriteString(blanks)
		}
		b.WriteString(strings.Repeat(" ", gap))
	}
	b.WriteByte('\n')
	_, err := io.WriteString(s, b.String())
	return err
}

// WriteList writes a row as a line for each column, for rows that fit no terminal.
func WriteList(s *Screen, title string, headings []string, row []Cell, width int) error {
	longest := 0
	for _, heading := range headings {
		longest = max(longest, TextWidth(heading))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", s.Styled("-- "+title, Heading))
	for i, c := range row {
		text := Cut(c.Text, max(width-longest-gap, leastListWidth))
		if c.Quiet {
			text = s.Styled(text, Quiet)
		}
		fmt.Fprintf(&b, "%s%s%s\n", headings[i], strings.Repeat(" ", longest-TextWidth(headings[i])+gap), text)
	}
	_, err := io.WriteString(s, b.String())
	return err
}
