package tabledef

import (
	"strings"
	"testing"
)

func TestClausesAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]string{
		"start": "start", "  start ": "start", "month(start)": "month(start)", "hour( start )": "hour(start)", "year(a b)": "year(a b)",
		"bucket(16, id)": "bucket(16, id)", "bucket(016,id)": "bucket(16, id)", "truncate(2147483647, a,b)": "truncate(2147483647, a,b)",
		"month (start)": "month (start)", "weight (kg)": "weight (kg)", "identity(start)": "start", "identity(min(id))": "identity(min(id))", // columns
	} {
		got, err := ParsePartitionBy(text)
		if err != nil || got.String() != want {
			t.Errorf("partition by %q: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"start": "start", " start desc ": "start desc", "start  desc": "start desc", "desc": "desc", "desc desc": "desc desc", "description": "description",
	} {
		got, err := ParseSortBy(text)
		if err != nil || got.String() != want {
			t.Errorf("sort by %q: %q, %v", text, got, err)
		}
	}
}

func TestClausesThatSayNothingAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"": "it names no column", " ": "it names no column", "day()": "it names no column", "bucket(16, )": "it names no column",
		"bucket(id)": "bucket takes a number and a column", "truncate(-1, id)": "truncate takes a number and a column", "bucket()": "bucket takes a number and a column",
		"bucket(0, id)": "the number of bucket must be from 1 to 2147483647", "truncate(2147483648, id)": "the number of truncate must be from 1 to 2147483647",
		"bucket(99999999999999999999, id)": "the number of bucket must be from 1 to 2147483647",
		"Month(start)":                     `the transform "Month" does not exist`, "min(id)": `the transform "min" does not exist`,
		"bucket[16](id)": "a number goes before the column, as in bucket(16, id)", "truncate[0](id)": "a number goes before the column",
	} {
		if _, err := ParsePartitionBy(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("partition by %q: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		" ": "it names no column", "start DESC": `only "desc" may follow`, "start asc": `only "desc" may follow`, "start desc nulls last": `only "desc" may follow`,
	} {
		if _, err := ParseSortBy(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("sort by %q: %v", text, err)
		}
	}
}

// What is shown of a table can be put into a configuration.
func FuzzClauses(f *testing.F) {
	for _, text := range []string{"start", "month(start)", "bucket(16, id)", "truncate(3,a(b))", "start desc", "year(month(x))", "bucket(1,\x00)"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if by, err := ParsePartitionBy(text); err == nil {
			again, err := ParsePartitionBy(by.String())
			if err != nil || again.Column != by.Column || !again.Transform.Equals(by.Transform) {
				t.Errorf("%q is %q, which is %q, %v", text, by, again, err)
			}
		}
		if by, err := ParseSortBy(text); err == nil {
			if again, err := ParseSortBy(by.String()); err != nil || again != by {
				t.Errorf("%q is %q, which is %q, %v", text, by, again, err)
			}
		}
	})
}
