// Package report makes a page about a lake: one HTML file that needs no network, with
// what the tables consist of and charts of what they hold.
//
// The page begins in document.go; its style and its script are files of their own. The script
// only draws charts, with uPlot. A content security policy names both scripts by their
// hashes and allows nothing else, so that no value of a table can run or load anything.
package report

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/charts"
	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
)

// A Page is what a report shows.
type Page struct {
	Warehouse string
	Catalog   string // its type
	Version   string // of the program
	Made      time.Time
	Charts    []charts.Chart
	Tables    []Table
}

// rows is how many rows the tables have.
func (p Page) rows() (n int64) {
	for _, t := range p.Tables {
		n += t.Info.Rows
	}
	return n
}

// bytes is the size of the tables' files.
func (p Page) bytes() (n int64) {
	for _, t := range p.Tables {
		n += t.Info.Bytes
	}
	return n
}

// lastCommit is the time of the last commit to any table, zero if there is none.
func (p Page) lastCommit() (last time.Time) {
	for _, t := range p.Tables {
		if t.LastCommit.After(last) {
			last = t.LastCommit
		}
	}
	return last
}

// Failed is how many tables and charts could not be read.
func (p Page) Failed() (n int) {
	for _, t := range p.Tables {
		if t.Error != "" {
			n++
		}
	}
	for _, c := range p.Charts {
		if c.Error != "" {
			n++
		}
	}
	return n
}

// due is how many tables maintenance would change.
func (p Page) due() (n int) {
	for _, t := range p.Tables {
		if t.Maintenance.isDue() {
			n++
		}
	}
	return n
}

// drawn are the charts that the script draws, by the ids of their figures.
func (p Page) drawn() map[string]charts.Chart {
	drawn := map[string]charts.Chart{}
	add := func(f figure) {
		if len(f.Times) > 0 {
			drawn[f.ID] = f.Chart
		}
	}
	for i, c := range p.Charts {
		add(figureOf("chart", i, c))
	}
	for i, t := range p.Tables {
		for j, c := range t.Histories {
			add(figureOf(fmt.Sprintf("table-%d-chart", i), j, c))
		}
	}
	return drawn
}

// A figure is a chart in its place on the page.
type figure struct {
	ID string
	charts.Chart
}

func figureOf(prefix string, i int, c charts.Chart) figure {
	return figure{fmt.Sprintf("%s-%d", prefix, i), c}
}

// Write writes the page. No secret is in any of its texts.
func Write(out io.Writer, p Page, secrets *redact.Redactor) error {
	removeSecrets(reflect.ValueOf(&p).Elem(), secrets)
	for _, t := range p.Tables {
		t.State.cut()
	}
	var page bytes.Buffer // an error leaves no half of it
	all, err := document(p)
	if err == nil {
		err = all.Render(&page)
	}
	if err != nil {
		return fmt.Errorf("making the page: %w", err)
	}
	_, err = page.WriteTo(out)
	return err
}

// removeSecrets removes secrets from every text in a value.
func removeSecrets(v reflect.Value, secrets *redact.Redactor) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(secrets.Clean(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			removeSecrets(v.Field(i), secrets)
		}
	case reflect.Slice:
		for i := range v.Len() {
			removeSecrets(v.Index(i), secrets)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			removeSecrets(v.Elem(), secrets)
		}
	}
}
