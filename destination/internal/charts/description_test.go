package charts

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestParse(t *testing.T) {
	got, err := Parse([]byte(`{"charts": [
		{"title": "A", "table": "t", "time": "at"},
		{"title": "B", "table": "ns.t", "time": "o.at", "kind": "stacked_bar", "unit": "h", "where": "x = 1", "aggregate": "sum", "every": "week",
		 "columns": ["a", {"column": "o.b", "label": "B", "divide_by": 1000}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Description{
		{Title: "A", Table: "t", Time: "at", Kind: "line", Aggregate: "mean", Every: "day"},
		{
			Title: "B", Table: "ns.t", Time: "o.at", Kind: "stacked_bar", Unit: "h", Where: "x = 1", Aggregate: "sum", Every: "week",
			Columns: []Column{{Name: "a", Label: "a", DivideBy: 1}, {Name: "o.b", Label: "B", DivideBy: 1000}},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Description{})); diff != "" {
		t.Error(diff)
	}
}

// An error names the chart and the key, and what to write instead.
func TestParseErrors(t *testing.T) {
	chart := func(keys string) string {
		return `{"charts": [{"title": "A", "table": "t", "time": "at"}, {"title": "Sleep", "table": "t", "time": "at"` + keys + `}]}`
	}
	for text, want := range map[string]string{
		``:                                      "The charts file cannot be read: ",
		`[]`:                                    "The charts file cannot be read: ",
		`null`:                                  "The charts file cannot be read: it is null.",
		`{"charts": []} x`:                      "The charts file cannot be read: there is something after the object.",
		`{"chart": []}`:                         `The charts file cannot be read: the key "chart" is not known. Did you mean "charts"? There are: charts.`,
		`{}`:                                    "The charts file has no charts. Give it a list, as in ",
		`{"charts": [1]}`:                       "Chart 1 of the charts file: ",
		`{"charts": [{}]}`:                      `Chart 1 of the charts file: It has no "title".`,
		chart(`, "tabel": "t"`):                 `Chart 2 of the charts file: the key "tabel" is not known. Did you mean "table"? There are: title, table, time, `,
		chart(`, "table": " "`):                 `Chart 2, "Sleep", of the charts file: It has no "table".`,
		chart(`, "kind": "bra"`):                `Chart 2, "Sleep", of the charts file: Its "kind" is "bra". Did you mean "bar"? There are: line, bar, stacked_bar, points.`,
		chart(`, "aggregate": "median of all"`): `Its "aggregate" is "median of all". There are: mean, sum, min, max.`,
		chart(`, "every": "days"`):              `Its "every" is "days". Did you mean "day"? There are: hour, day, week, month, year.`,
		chart(`, "columns": "a"`):               "Chart 2",
		chart(`, "columns": [{"label": "a"}]`):  `An entry of its "columns" has no "column".`,
		chart(`, "columns": [{"colum": "a"}]`):  `the key "colum" is not known. Did you mean "column"?`,
		chart(`, "columns": [{"column": "a", "divide_by": 0}]`):     `"divide_by" of column a is 0. Leave it out, or give another number.`,
		chart(`, "columns": ["a", {"column": "a"}]`):                `It has column "a" twice. Leave one of them.`,
		chart(`, "kind": "bar", "columns": ["a","b"]`):              `A chart of kind bar has one column, and this one has 2. Make it a line or a stacked_bar, or a chart for each.`,
		chart(`, "columns": ["1","2","3","4","5","6","7","8","9"]`): "It has 9 columns. Leave at most 8, and make another chart of the rest.",
	} {
		_, err := Parse([]byte(text))
		var e *protocol.Error
		if !errors.As(err, &e) || e.Kind != protocol.ConfigError || !strings.Contains(e.Message, want) {
			t.Errorf("%s\n gives %v\n want  %s", text, err, want)
		}
	}
}
