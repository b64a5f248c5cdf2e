//go:build acceptance

package acceptance

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/google/go-cmp/cmp"
)

// positions are what `destination state` says of each stream.
func (l *lake) positions(catalog string) map[string]int {
	l.t.Helper()
	_, states := l.state(catalog)
	positions := map[string]int{}
	for _, s := range states {
		var p feedPosition
		unmarshal(l.t, s, &p)
		positions[p.Stream.Descriptor.Name] = p.Stream.State.N
	}
	return positions
}

// A census is what a reader that is not ours finds in the feed's tables.
type census struct {
	rows, ids, least, greatest int         // of log
	wrong                      int         // rows of log and totals that were never sent so
	accounts                   map[int]int // id to version
	totals                     map[int]int // version to rows
}

func (l *lake) census() census {
	l.t.Helper()
	const wrong = "count(*) FILTER (WHERE name IS DISTINCT FROM format('%s {} of {}', id, version) OR _ab_cdc_deleted_at IS NOT NULL)"
	answers := l.ask(map[string]string{
		"log":      "SELECT count(*), count(DISTINCT id), coalesce(min(id), 0), coalesce(max(id), -1), " + fmt.Sprintf(wrong, "log") + " + count(*) FILTER (WHERE id <> version) FROM t",
		"accounts": "SELECT id, version, CAST(name IS DISTINCT FROM format('accounts {} of {}', id, version) AS INTEGER) FROM t",
		"totals":   "SELECT version, count(*), count(*) - count(DISTINCT id) + " + fmt.Sprintf(wrong, "totals") + " FROM t GROUP BY version",
	})
	c := census{greatest: -1, accounts: map[int]int{}, totals: map[int]int{}}
	for _, r := range answers["log"] {
		c.rows, c.ids, c.least, c.greatest, c.wrong = r[0], r[1], r[2], r[3], r[4]
	}
	for _, r := range answers["accounts"] {
		if _, twice := c.accounts[r[0]]; twice {
			l.t.Errorf("account %d is there twice", r[0])
		}
		c.accounts[r[0]] = r[1]
		c.wrong += r[2]
	}
	for _, r := range answers["totals"] {
		c.totals[r[0]] = r[1]
		c.wrong += r[2]
	}
	return c
}

// ask asks tables by SQL for integers; tables that are not there do not answer.
func (l *lake) ask(queries map[string]string) map[string][][]int {
	l.t.Helper()
	full := map[string]string{}
	for table, query := range queries {
		full["whoop."+table] = query
	}
	text, err := json.Marshal(full)
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := script(l.t.Context(), "duckdb_sql.py", filepath.Join(l.dir, "catalog.db"), string(text))
	if err != nil {
		l.t.Fatal(err)
	}
	var answers map[string][][]int
	unmarshal(l.t, out, &answers)
	short := map[string][][]int{}
	for table := range queries {
		short[table] = answers["whoop."+table]
	}
	return short
}

// accountsAt is what accounts must hold after so many of its records: id to version.
func accountsAt(n int) map[int]int {
	accounts := map[int]int{}
	for i := range n {
		if id, deleted := account(i); deleted {
			delete(accounts, id)
		} else {
			accounts[id] = i
		}
	}
	return accounts
}

// wantExactly checks that the tables hold what the positions say and nothing else. Of totals there is
// either all of the version before or all of the feed's.
func (l *lake) wantExactly(f feed, at map[string]int, before map[int]int) {
	l.t.Helper()
	c := l.census()
	if n := at["log"]; c.rows != n || c.ids != n || c.least != 0 || c.greatest != n-1 {
		l.t.Errorf("log holds %d rows with %d ids from %d to %d; its state says %d", c.rows, c.ids, c.least, c.greatest, n)
	}
	if diff := cmp.Diff(accountsAt(at["accounts"]), c.accounts); diff != "" {
		l.t.Errorf("accounts at %d (-want +got):\n%.2000s", at["accounts"], diff)
	}
	whole := map[int]int{f.version: f.lengths["totals"]}
	if !maps.Equal(c.totals, before) && !maps.Equal(c.totals, whole) {
		l.t.Errorf("totals holds %v rows by version, want %v or %v", c.totals, before, whole)
	}
	if c.wrong != 0 {
		l.t.Errorf("%d rows were never sent so", c.wrong)
	}
}

// wantWhole checks the tables after a feed has come to its end. Log may hold records twice if
// the feed was resumed from echoes, which may lag behind the tables.
func (l *lake) wantWhole(f feed, once bool) {
	l.t.Helper()
	c := l.census()
	n := f.lengths["log"]
	if c.ids != n || c.least != 0 || c.greatest != n-1 || c.rows < n || once && c.rows != n {
		l.t.Errorf("log holds %d rows with %d ids from %d to %d, want %d", c.rows, c.ids, c.least, c.greatest, n)
	}
	if diff := cmp.Diff(accountsAt(f.lengths["accounts"]), c.accounts); diff != "" {
		l.t.Errorf("accounts (-want +got):\n%.2000s", diff)
	}
	if whole := map[int]int{f.version: f.lengths["totals"]}; !maps.Equal(c.totals, whole) {
		l.t.Errorf("totals holds %v rows by version, want %v", c.totals, whole)
	}
	if c.wrong != 0 {
		l.t.Errorf("%d rows were never sent so", c.wrong)
	}
	rows := l.read(map[string]string{"accounts": "id"})["accounts"].Rows
	got := map[int]int{}
	for _, r := range rows {
		values := row(l.t, slices.Concat(columnsOf(l.t, json.RawMessage(itemSchema)), airbyteColumns), r)
		got[int(values["id"].(int64))] = int(values["version"].(int64))
	}
	if !maps.Equal(got, c.accounts) || len(rows) != len(got) {
		l.t.Errorf("both engines read %d rows of accounts, DuckDB counts %d", len(rows), len(c.accounts))
	}
}
