// Package charts makes of the rows of a table what a chart of them shows, as a file of
// descriptions asks for. It knows no source, and not how charts are drawn.
//
// # Terms
//
//   - bucket: the rows of a table in one hour, day, week, month or year, in UTC.
//   - series: the values of one column in a chart, one for each bucket.
package charts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/internal/jsonerrors"
	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A Description says what a chart shows, as docs/report.md has it.
type Description struct {
	Title     string   `json:"title"`
	Table     string   `json:"table"` // or stream
	Time      string   `json:"time"`  // column
	Kind      string   `json:"kind"`
	Unit      string   `json:"unit"`
	Columns   []Column `json:"columns"` // none: the rows are counted
	Where     string   `json:"where"`
	Aggregate string   `json:"aggregate"`
	Every     string   `json:"every"`
	number    int      // among the charts, from 1
}

// A Column is a series. In the file it may be its column alone.
type Column struct {
	Name     string  `json:"column"`
	Label    string  `json:"label"`
	DivideBy float64 `json:"divide_by"`
}

// The values that a description may have, the default first.
var (
	kinds      = []string{"line", "bar", "stacked_bar", "points"}
	aggregates = []string{"mean", "sum", "min", "max"}
)

// Parse reads a file of descriptions. Its error is a config_error that names the chart
// and the key, and the remedy.
func Parse(text []byte) ([]Description, error) {
	var file struct{ Charts []json.RawMessage }
	if err := decode(text, &file, "charts"); err != nil {
		return nil, protocol.ConfigError.Errorf(nil, "The charts file cannot be read: %v.", err)
	}
	if len(file.Charts) == 0 {
		return nil, protocol.ConfigError.Errorf(nil, `The charts file has no charts. Give it a list, as in {"charts": [{"title": "Recovery", "table": "recovery", "time": "created_at", "columns": ["score.recovery_score"]}]}.`)
	}
	var all []Description
	for i, raw := range file.Charts {
		d := Description{Kind: kinds[0], Aggregate: aggregates[0], Every: widths[1].name, number: i + 1}
		if err := decode(raw, &d, "title", "table", "time", "kind", "unit", "columns", "where", "aggregate", "every"); err != nil {
			return nil, d.fault("%v.", err)
		}
		if err := d.check(); err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// decode reads a JSON object that has only these keys.
func decode(text []byte, value any, keys ...string) error {
	var object map[string]json.RawMessage
	in := json.NewDecoder(bytes.NewReader(text))
	err := in.Decode(&object)
	switch {
	case err != nil:
		return errors.New(jsonerrors.Reason(err))
	case object == nil:
		return errors.New("it is null")
	case in.Decode(new(any)) != io.EOF:
		return errors.New("there is something after the object")
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("the key %q is not known.%s There are: %s", key, nearest.DidYouMean(key, keys), strings.Join(keys, ", "))
		}
	}
	if err := json.Unmarshal(text, value); err != nil {
		return errors.New(jsonerrors.Reason(err))
	}
	return nil
}

// UnmarshalJSON reads a column's name, or an object.
func (c *Column) UnmarshalJSON(text []byte) error {
	c.DivideBy = 1
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, &c.Name)
	}
	type plain Column
	return decode(text, (*plain)(c), "column", "label", "divide_by")
}

// check finds what is wrong with a description, whatever its table has, and sets what was
// left out.
func (d *Description) check() error {
	for _, required := range []struct{ key, value string }{{"title", d.Title}, {"table", d.Table}, {"time", d.Time}} {
		if strings.TrimSpace(required.value) == "" {
			return d.fault("It has no %q.", required.key)
		}
	}
	var names []string
	for _, w := range widths {
		names = append(names, w.name)
	}
	for _, choice := range []struct {
		key, value string
		of         []string
	}{{"kind", d.Kind, kinds}, {"aggregate", d.Aggregate, aggregates}, {"every", d.Every, names}} {
		if !slices.Contains(choice.of, choice.value) {
			return d.fault("Its %q is %q.%s There are: %s.", choice.key, choice.value, nearest.DidYouMean(choice.value, choice.of), strings.Join(choice.of, ", "))
		}
	}
	const most = 8 // that can be told apart
	if len(d.Columns) > most {
		return d.fault("It has %d columns. Leave at most %d, and make another chart of the rest.", len(d.Columns), most)
	}
	if d.Kind == "bar" && len(d.Columns) > 1 {
		return d.fault("A chart of kind bar has one column, and this one has %d. Make it a line or a stacked_bar, or a chart for each.", len(d.Columns))
	}
	for i := range d.Columns {
		c := &d.Columns[i]
		if c.Name == "" {
			return d.fault(`An entry of its "columns" has no "column".`)
		}
		if slices.ContainsFunc(d.Columns[:i], func(earlier Column) bool { return earlier.Name == c.Name }) {
			return d.fault("It has column %q twice. Leave one of them.", c.Name)
		}
		if c.Label == "" {
			c.Label = c.Name
		}
		if c.DivideBy == 0 {
			return d.fault(`"divide_by" of column %s is 0. Leave it out, or give another number.`, c.Name)
		}
	}
	return nil
}

// fault is a config_error that names the chart.
func (d *Description) fault(format string, args ...any) error {
	name := ""
	if d.Title != "" {
		name = fmt.Sprintf(", %q,", d.Title)
	}
	return protocol.ConfigError.Errorf(nil, "Chart %d%s of the charts file: %s", d.number, name, fmt.Sprintf(format, args...))
}

// Fault says what is wrong with the chart: what err says.
func (d *Description) Fault(err error) error {
	message := err.Error()
	if e := (*protocol.Error)(nil); errors.As(err, &e) {
		if e.Kind != protocol.ConfigError {
			return err
		}
		message = e.Message
	}
	return d.fault("%s", message)
}
