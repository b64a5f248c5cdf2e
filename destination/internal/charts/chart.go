package charts

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filter"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// A Chart is what the script of the page draws. If Error is not "", its rows could not be
// read.
type Chart struct {
	Title string `json:"title"`
	Table string `json:"-"`
	Kind  string `json:"kind"` // of a description, or step
	Unit  string `json:"unit"` // B is for bytes
	Every string `json:"every"`
	// Aggregate is what was made of the values in a bucket, and is to be made of several
	// buckets.
	Aggregate string    `json:"aggregate"`
	Width     int64     `json:"width"` // of a bucket in seconds; 0: there are none
	Times     []float64 `json:"times"` // in seconds
	Lines     []Series  `json:"series"`
	Notes     []string  `json:"-"` // what it shows, and what was left out
	Error     string    `json:"-"`
}

// A Series is the values of a column, one for each of the chart's times.
type Series struct {
	Label  string `json:"label"`
	Values Values `json:"values"`
}

// Values are numbers. NaN is none.
type Values []float64

// MarshalJSON writes whole numbers as they are, and others with seven digits.
func (v Values) MarshalJSON() ([]byte, error) {
	text := []byte{'['}
	for i, n := range v {
		if i > 0 {
			text = append(text, ',')
		}
		const exact = 1 << 53
		switch {
		case math.IsNaN(n) || math.IsInf(n, 0):
			text = append(text, "null"...)
		case n == math.Trunc(n) && math.Abs(n) < exact:
			text = strconv.AppendInt(text, int64(n), 10)
		default:
			text = strconv.AppendFloat(text, n, 'g', 7, 64)
		}
	}
	return append(text, ']'), nil
}

// A Bound is a description whose columns were found in a table.
type Bound struct {
	described Description
	tbl       *table.Table
	selection inspect.Selection // the time, then the values
}

// Bind finds the columns of a description in its table. Its error is a config_error that
// names the column and the remedy.
func (d *Description) Bind(tbl *table.Table) (*Bound, error) {
	b := &Bound{described: *d, tbl: tbl}
	name := strings.Join(tbl.Identifier(), ".")
	schema := tbl.Schema()
	if d.Where != "" {
		where, err := filter.Parse(d.Where)
		if err == nil {
			b.selection.Where, err = where.Bind(schema)
		}
		if err != nil {
			return nil, d.Fault(err)
		}
	}
	for i, c := range append([]Column{{Name: d.Time}}, d.Columns...) {
		column, err := inspect.ParseColumn(c.Name, schema)
		if err != nil {
			return nil, d.Fault(err)
		}
		of, fits, want := column.Type(), isNumber, "numbers"
		if i == 0 {
			fits, want = isTime, "times or dates"
		}
		if !fits(of) {
			return nil, d.fault("Column %s of table %s has %s, but must have %s. %s", c.Name, name, inspect.Kind(of), want, choices(schema, fits))
		}
		b.selection.Columns = append(b.selection.Columns, column)
	}
	return b, nil
}

// Table is the table whose rows the chart shows.
func (b *Bound) Table() table.Identifier { return b.tbl.Identifier() }

func isTime(of iceberg.Type) bool {
	switch of.(type) {
	case iceberg.TimestampType, iceberg.TimestampTzType, iceberg.TimestampNsType, iceberg.TimestampTzNsType, iceberg.DateType:
		return true
	}
	return false
}

func isNumber(of iceberg.Type) bool {
	switch of.(type) {
	case iceberg.Int32Type, iceberg.Int64Type, iceberg.Float32Type, iceberg.Float64Type, iceberg.DecimalType:
		return true
	}
	return false
}

// choices names the columns of a table whose types fit, also those of objects.
func choices(schema *iceberg.Schema, fits func(iceberg.Type) bool) string {
	const most = 20
	var names []string
	var list func(fields []iceberg.NestedField, in string)
	list = func(fields []iceberg.NestedField, in string) {
		for _, f := range fields {
			if fits(f.Type) {
				names = append(names, in+f.Name)
			}
			if object, ok := f.Type.(*iceberg.StructType); ok {
				list(object.FieldList, in+f.Name+".")
			}
		}
	}
	list(schema.Fields(), "")
	if len(names) == 0 {
		return "It has no such column."
	}
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return "Such columns are " + strings.Join(names, ", ") + "."
}

// Read reads the rows of a chart. It takes no more memory for more of them.
func (b *Bound) Read(ctx context.Context) (Chart, error) {
	chart := Chart{Title: b.described.Title, Table: strings.Join(b.tbl.Identifier(), "."), Kind: b.described.Kind, Unit: b.described.Unit}
	labels := make([]string, len(b.described.Columns))
	for i, c := range b.described.Columns {
		labels[i] = c.Label
	}
	aggregate := b.described.Aggregate
	if len(labels) == 0 {
		labels, aggregate = []string{"rows"}, "sum"
	}
	all := newBuckets(b.described.Every, len(labels))
	rows, untimed := int64(0), int64(0)
	values := make([]float64, len(labels))
	for row, err := range inspect.Select(ctx, b.tbl, b.selection) {
		if err != nil {
			return chart, err
		}
		rows++
		at, ok := timeOf(row[0].Value)
		if !ok {
			untimed++
			continue
		}
		values[0] = 1
		for i, c := range b.described.Columns {
			values[i] = numberOf(row[i+1].Value) / c.DivideBy
		}
		all.add(at, values)
	}
	var series []Values
	chart.Times, series = all.points(aggregate)
	for i, label := range labels {
		chart.Lines = append(chart.Lines, Series{label, series[i]})
	}
	chart.Every, chart.Width, chart.Aggregate = widths[all.width].name, widths[all.width].seconds, aggregate
	chart.Notes = b.notes(chart, aggregate, rows, untimed, all.left)
	return chart, nil
}

// notes say what a chart shows, and what it leaves out.
func (b *Bound) notes(chart Chart, aggregate string, rows, untimed, left int64) (notes []string) {
	what := map[string]string{"mean": "Mean", "sum": "Sum", "min": "Lowest value", "max": "Highest value"}[aggregate]
	if len(b.described.Columns) == 0 {
		what = "Rows"
	}
	text := fmt.Sprintf("%s of each %s, by %s", what, chart.Every, b.described.Time)
	if b.described.Where != "" {
		text += ", where " + b.described.Where
	}
	notes = append(notes, text+fmt.Sprintf("; from %s of %s.", terminal.Counted(rows, "rows"), chart.Table))
	if chart.Every != b.described.Every {
		notes = append(notes, fmt.Sprintf("There are more than %s %ss with rows, so each point is a %s.", terminal.Number(maxPoints), b.described.Every, chart.Every))
	}
	if untimed > 0 {
		notes = append(notes, fmt.Sprintf("%s without a time were left out.", terminal.Counted(untimed, "rows")))
	}
	if left > 0 {
		notes = append(notes, fmt.Sprintf("%s of other years were left out: the chart has %s already.", terminal.Counted(left, "rows"), terminal.Number(maxPoints)))
	}
	return notes
}

// timeOf is a value of a column of times or dates.
func timeOf(value any) (time.Time, bool) {
	text, _ := value.(string)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// numberOf is a value of a column of numbers, NaN if it is null.
func numberOf(value any) float64 {
	text, ok := value.(json.Number)
	if !ok {
		return math.NaN()
	}
	n, err := text.Float64()
	if err != nil {
		return math.NaN()
	}
	return n
}
