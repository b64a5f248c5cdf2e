package columnar

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scalar"
	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// Losses are what the columns do not have of the records of a stream. Properties have the names
// of the objects they are in before their own, joined by dots.
type Losses struct {
	Nulled   map[string]int64  // rows in which a property is null, because its value did not fit
	Adjusted map[string]int64  // rows in which a property has not quite the record's value
	LeftOut  map[string]string // properties that the schema does not have, and the name there that is most like theirs, if one is
	More     bool              // there are more such properties than are remembered
}

// NewLosses returns losses of no rows.
func NewLosses() *Losses {
	return &Losses{Nulled: map[string]int64{}, Adjusted: map[string]int64{}, LeftOut: map[string]string{}}
}

// Warnings says what was lost, a sentence for each kind.
func (l *Losses) Warnings() (sentences []string) {
	if len(l.Nulled) > 0 {
		sentences = append(sentences, "values that do not fit the type of their column are null: "+inRows(l.Nulled)+". The column _airbyte_meta says in which rows, and why")
	}
	if len(l.Adjusted) > 0 {
		sentences = append(sentences, "values are rounded, cut to microseconds, or have other characters for such as are not valid Unicode: "+inRows(l.Adjusted)+
			". The column _airbyte_meta says in which rows, and why")
	}
	if len(l.LeftOut) > 0 || l.More {
		sentences = append(sentences, "properties that the stream's schema in the catalog does not have are left out: "+l.leftOut()+". To keep them, discover the source's schema again")
	}
	return sentences
}

// maxNamed is how many properties a warning names.
const maxNamed = 5

// inRows lists properties with the numbers of their rows, most rows first.
func inRows(rows map[string]int64) string {
	properties := slices.SortedFunc(maps.Keys(rows), func(a, b string) int {
		if rows[a] != rows[b] {
			return int(rows[b] - rows[a])
		}
		return strings.Compare(a, b)
	})
	return someOf(properties, false, func(property string) string {
		return fmt.Sprintf("%s in %s", property, terminal.Counted(rows[property], "rows"))
	})
}

// leftOut lists properties that the schema does not have.
func (l *Losses) leftOut() string {
	return someOf(slices.Sorted(maps.Keys(l.LeftOut)), l.More, func(property string) string {
		return perhaps(property, l.LeftOut[property])
	})
}

// perhaps quotes a name, and the one that may have been meant, if there is one.
func perhaps(name, near string) string {
	if near == "" {
		return fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf("%q (did you mean %q?)", name, near)
}

// someOf lists the first properties and says how many more there are, and whether they are not
// all that there are.
func someOf(properties []string, notAll bool, show func(string) string) string {
	var shown []string
	for _, p := range properties[:min(len(properties), maxNamed)] {
		shown = append(shown, show(p))
	}
	switch more := len(properties) - len(shown); {
	case notAll && len(shown) == 0:
		shown = append(shown, fmt.Sprintf("some with names of more than %d bytes", maxUnknownName))
	case notAll:
		shown = append(shown, "and others")
	case more > 0:
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(shown, ", ")
}

// AddTo adds what was lost of the rows since the batch was new.
func (b *Batch) AddTo(l *Losses) {
	for property, rows := range b.nulled {
		l.Nulled[property] += rows
	}
	for property, rows := range b.adjusted {
		l.Adjusted[property] += rows
	}
	b.data.addLeftOut(l)
}

// noteChanges counts the changes of the last run by property. Those of the source are its own
// matter.
func (b *Batch) noteChanges() {
	entries := b.changes.element
	property, change, reason := entries.fields[0], entries.fields[1], entries.fields[2]
	for ; b.noted < entries.rows; b.noted++ {
		if !strings.HasPrefix(string(reason.text(b.noted)), "DESTINATION_") {
			continue
		}
		rows := &b.adjusted
		if string(change.text(b.noted)) == scalar.Nulled {
			rows = &b.nulled
		}
		if *rows == nil {
			*rows = map[string]int64{}
		}
		(*rows)[string(property.text(b.noted))]++
	}
}

// text returns a row of a text column, which need not be filled up to it.
func (c *column) text(row int) []byte {
	if row >= c.rows {
		return nil
	}
	return c.data[c.offsets[row]:c.offsets[row+1]]
}

// addLeftOut adds the properties of a column's objects that have no column.
func (c *column) addLeftOut(l *Losses) {
	if c.element != nil {
		c.element.addLeftOut(l)
	}
	for _, f := range c.fields {
		f.addLeftOut(l)
	}
	if c.object == nil {
		return
	}
	var declared []string
	for name, m := range c.object.byName {
		if m.column != nil {
			declared = append(declared, name)
		}
	}
	slices.Sort(declared)
	for name, m := range c.object.byName {
		if m.leftOut {
			l.LeftOut[strings.TrimPrefix(c.path+"."+name, ".")] = nearest.Name(name, declared)
		}
	}
	l.More = l.More || c.object.dropped.leftOut
}
