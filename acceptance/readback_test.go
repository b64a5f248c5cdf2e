//go:build acceptance

package acceptance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A readback asks one process that holds the engines, as starting them takes longer than reading.
type readback struct {
	lock    sync.Mutex
	ask     io.Writer
	answers *bufio.Reader
	read    map[string]int // tables, by script
}

func newReadback(t *testing.T) *readback {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, filepath.Join(repository, "acceptance/engines/readback.py"))
	cmd.Stderr = os.Stderr
	ask, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Wait() // the end of the test's context has killed it
	})
	return &readback{ask: ask, answers: bufio.NewReader(answers), read: map[string]int{}}
}

// look compares every table of a configuration's catalog as the engines and as our own verbs show it.
func (r *readback) look(script, config string, written bool) error {
	tables, err := ownTables(config)
	switch {
	case !written && (err != nil || len(tables) == 0):
		return nil // what was refused before there was a table
	case err != nil:
		return err
	case len(tables) == 0:
		return errors.New("it was written to and has no table")
	}
	engines, err := r.engines(config)
	if err != nil {
		return fmt.Errorf("reading the catalog with the engines: %w", err)
	}
	for _, own := range tables {
		seen, ok := engines[own.Table]
		if !ok {
			return fmt.Errorf("PyIceberg does not see table %s", own.Table)
		}
		if err := own.compare(config, seen); err != nil {
			return fmt.Errorf("table %s: %w", own.Table, err)
		}
	}
	if len(engines) != len(tables) {
		return fmt.Errorf("PyIceberg sees %d tables, we %d", len(engines), len(tables))
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.read[script] += len(tables)
	return nil
}

type seen struct{ PyIceberg, DuckDB *reading }

func (r *readback) engines(config string) (map[string]seen, error) {
	text, err := os.ReadFile(config)
	if err != nil {
		return nil, err
	}
	var c struct {
		Warehouse string
		Catalog   struct{ Path string }
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	if c.Catalog.Path == "" {
		c.Catalog.Path = strings.TrimPrefix(c.Warehouse, "file://") + "/catalog.db"
	}
	question, err := json.Marshal(map[string]string{"catalog": c.Catalog.Path, "warehouse": c.Warehouse})
	if err != nil {
		return nil, err
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	if _, err := r.ask.Write(append(question, '\n')); err != nil {
		return nil, err
	}
	line, err := r.answers.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error  string
		Tables map[string]seen
	}
	if err := decode(line, &answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return answer.Tables, nil
}

// ownTable is a table as `destination tables` lists it.
type ownTable struct {
	Table, Stream, Namespace string
	Rows                     int
	DataFiles                int    `json:"data_files"`
	PositionDeletes          int    `json:"position_delete_files"`
	MetadataLocation         string `json:"metadata_location"`
}

// ownTables lists the tables of a catalog.
func ownTables(config string) ([]ownTable, error) {
	stdout, stderr, code := runDestination([]string{"tables", "--json", "--config", config}, nil)
	if code != 0 {
		return nil, fmt.Errorf("listing the tables: %s", stderr)
	}
	var tables []ownTable
	if err := decode(stdout, &tables); err != nil {
		return nil, err
	}
	return tables, nil
}

// compare holds the engines' readings against each other and against our own: the same columns in the
// same order, values that are of the columns' types, and the same rows.
func (o ownTable) compare(config string, s seen) error {
	theirs := s.PyIceberg
	if s.DuckDB != nil {
		theirs.mendLists(*s.DuckDB)
		if diff := cmp.Diff(theirs, s.DuckDB); diff != "" {
			return fmt.Errorf("the engines differ (-PyIceberg +DuckDB):\n%.3000s", diff)
		}
	}
	files := map[string]int{"data": o.DataFiles, "position_deletes": o.PositionDeletes, "equality_deletes": 0}
	if diff := cmp.Diff(files, theirs.Files); diff != "" || o.MetadataLocation != theirs.MetadataLocation {
		return fmt.Errorf("%s here, %s to PyIceberg; files (-ours +PyIceberg):\n%s", o.MetadataLocation, theirs.MetadataLocation, diff)
	}
	args := []string{"preview", o.Table, "--limit", "0", "--json", "--config", config}
	stdout, stderr, code := runDestination(args, nil)
	if code != 0 {
		return fmt.Errorf("previewing it: %s", stderr)
	}
	var columns []column
	var names []string
	for _, c := range theirs.Schema {
		kind, rest := parseType(c[1])
		if rest != "" {
			return fmt.Errorf("%q is no type", c[1])
		}
		kind.name = c[0]
		columns, names = append(columns, kind), append(names, c[0])
	}
	typed := column{kind: "struct", of: columns}
	ours := map[any]any{} // rows by raw id
	for line := range bytes.Lines(stdout) {
		order, row, err := decodeRow(line)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(names, order); diff != "" {
			return fmt.Errorf("columns (-PyIceberg +ours):\n%s", diff)
		}
		if err := typed.keep(ours, row); err != nil {
			return fmt.Errorf("a row of ours: %w", err)
		}
	}
	engines := map[any]any{}
	for _, row := range theirs.Rows {
		if err := typed.keep(engines, row); err != nil {
			return fmt.Errorf("a row of PyIceberg's: %w", err)
		}
	}
	if diff := cmp.Diff(engines, ours); diff != "" {
		return fmt.Errorf("rows (-PyIceberg +ours):\n%.3000s", diff)
	}
	if n := bytes.Count(stdout, []byte("\n")); n != o.Rows || n != len(theirs.Rows) || n != len(ours) {
		return fmt.Errorf("%d rows with %d ids here, %d by the table's own account, %d to PyIceberg", n, len(ours), o.Rows, len(theirs.Rows))
	}
	return nil
}

// keep reads a row and puts it where its id says.
func (c column) keep(rows map[any]any, row any) error {
	value, err := c.value(row)
	if err != nil {
		return err
	}
	rows[value.(map[string]any)["_airbyte_raw_id"]] = value
	return nil
}

// decodeRow reads an object and the names of its members, in its order.
func decodeRow(object []byte) (names []string, row any, err error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		return nil, nil, err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, nil, err
		}
		names = append(names, name.(string))
		if err := dec.Decode(new(json.RawMessage)); err != nil {
			return nil, nil, err
		}
	}
	err = decode(object, &row)
	return names, row, err
}

// decode keeps numbers as they are written.
func decode(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return dec.Decode(into)
}
