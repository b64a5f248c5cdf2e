//go:build acceptance

package acceptance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
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
	log      series
	accounts map[int]int // id to version
	totals   map[int]int // version to rows
	journal  refreshed[series]
	members  refreshed[map[int]int]
	wrong    int // rows that were never sent so
}

// A series is rows with ids 0, 1, 2, …
type series struct{ rows, ids, least, greatest int }

// seriesOf is the series of so many rows.
func seriesOf(n int) series { return series{n, n, 0, n - 1} }

// refreshed is a table with rows of two generations, and the branch of its refresh.
type refreshed[T any] struct {
	old    int // rows of the older generation
	rows   T   // those of the newer one that readers see
	begun  bool
	branch T
}

func (l *lake) census() census {
	l.t.Helper()
	wrong := func(table string) string {
		return fmt.Sprintf("(name IS DISTINCT FROM format('%s {} of {}', id, version) OR _ab_cdc_deleted_at IS NOT NULL)", table)
	}
	const older = "_airbyte_generation_id IS NOT DISTINCT FROM 1"
	series := func(table string) string {
		return fmt.Sprintf("SELECT count(*), count(DISTINCT id), coalesce(min(id), 0), coalesce(max(id), -1), count(*) FILTER (%s OR id <> version), "+
			"(SELECT count(*) FROM t WHERE %s) FROM t WHERE NOT (%[2]s)", wrong(table), older)
	}
	pairs := func(table string) string {
		return fmt.Sprintf("SELECT id, version, CAST(%s AS INTEGER), CAST(%s AS INTEGER) FROM t", wrong(table), older)
	}
	answers := l.ask(map[string]string{
		"log":      series("log"),
		"accounts": pairs("accounts"),
		"totals":   "SELECT version, count(*), count(*) - count(DISTINCT id) + count(*) FILTER " + wrong("totals") + " FROM t GROUP BY version",
		"journal":  series("journal"), "journal@airbyte_generation_2": series("journal"),
		"members": pairs("members"), "members@airbyte_generation_2": pairs("members") + " WHERE _ab_cdc_deleted_at IS NULL", // a refresh keeps tombstones
	})
	c := census{totals: map[int]int{}}
	c.log, _ = c.series(answers["log"])
	c.accounts, _ = c.pairs(answers["accounts"])
	for _, r := range answers["totals"] {
		c.totals[r[0]] = r[1]
		c.wrong += r[2]
	}
	c.journal.rows, c.journal.old = c.series(answers["journal"])
	c.members.rows, c.members.old = c.pairs(answers["members"])
	c.journal.branch, _ = c.series(answers["journal@airbyte_generation_2"])
	c.members.branch, _ = c.pairs(answers["members@airbyte_generation_2"])
	_, c.journal.begun = answers["journal@airbyte_generation_2"]
	_, c.members.begun = answers["members@airbyte_generation_2"]
	return c
}

// series takes the one row of an answer, and the number of rows of the older generation.
func (c *census) series(answer [][]int) (s series, older int) {
	s.greatest = -1
	for _, r := range answer {
		s, older = series{r[0], r[1], r[2], r[3]}, r[5]
		c.wrong += r[4]
	}
	return s, older
}

// pairs takes ids and versions, and the number of rows of the older generation. An id that is there
// twice is wrong.
func (c *census) pairs(answer [][]int) (versions map[int]int, older int) {
	versions = map[int]int{}
	for _, r := range answer {
		if r[3] == 1 {
			older++
			continue
		}
		if _, twice := versions[r[0]]; twice {
			c.wrong++
		}
		versions[r[0]] = r[1]
		c.wrong += r[2]
	}
	return versions, older
}

// ask asks tables, or with @ and a name branches of them, by SQL for integers; those that are not
// there do not answer.
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
	catalog := filepath.Join(l.dir, "catalog.db")
	if _, err := os.Stat(catalog); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	out, err := script(l.t.Context(), "duckdb_sql.py", catalog, string(text))
	if err != nil {
		l.t.Fatal(err)
	}
	var answers map[string][][]int
	unmarshal(l.t, out, &answers)
	short := map[string][][]int{}
	for table := range queries {
		if answer, there := answers["whoop."+table]; there {
			short[table] = answer
		}
	}
	return short
}

// accountsAt is what accounts or members must hold after so many of their records: id to version.
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

// progress is what is known of a lake whose feed is ended again and again.
type progress struct {
	older    feed // what the overwrite and the refreshes replace
	feed     feed
	exact    bool            // the feed goes on from what the tables hold, not from what was echoed
	swapped  map[string]bool // streams whose older rows are gone
	furthest map[string]int  // the last position of each stream that was ever seen
}

func newProgress(older, f feed, exact bool) *progress {
	return &progress{older: older, feed: f, exact: exact, swapped: map[string]bool{}, furthest: map[string]int{}}
}

// want checks that a reader sees what was echoed, that the tables hold what their states say, and
// nothing else, and that older rows are there until all the newer ones are. Where the feed goes on from
// echoes, which lag behind, a table may be ahead of its state.
func (p *progress) want(l *lake, echoed, at map[string]int) {
	l.t.Helper()
	c := l.census()
	for s, n := range at {
		p.furthest[s] = max(p.furthest[s], n)
	}
	for s, n := range echoed {
		if !p.feed.stream(s).replaces() && at[s] < n {
			l.t.Errorf("stream %s: state %d was echoed, the table is at %d", s, n, at[s])
		}
	}
	p.wantSeries(l, "log", c.log, echoed["log"], at["log"])
	p.wantPairs(l, "accounts", c.accounts, echoed["accounts"], at["accounts"])
	whole := map[string]bool{
		"totals":  maps.Equal(c.totals, p.feed.totals()),
		"journal": c.journal.old == 0 && c.journal.rows.ids == p.feed.lengths["journal"],
		"members": c.members.old == 0 && maps.Equal(c.members.rows, accountsAt(p.feed.lengths["members"])),
	}
	before := map[string]bool{
		"totals":  maps.Equal(c.totals, p.older.totals()),
		"journal": c.journal.old == p.older.lengths["journal"] && c.journal.rows.rows == 0,
		"members": c.members.old == len(accountsAt(p.older.lengths["members"])) && len(c.members.rows) == 0,
	}
	for s := range whole {
		if !whole[s] && (!before[s] || p.swapped[s]) {
			l.t.Errorf("stream %s is neither as it was nor whole: %+v", s, c)
		}
		p.swapped[s] = p.swapped[s] || whole[s]
	}
	if echoed["totals"] > 0 && !p.swapped["totals"] {
		l.t.Errorf("the states of totals were echoed; a reader sees %v", c.totals)
	}
	if p.swapped["journal"] {
		p.wantSeries(l, "journal", c.journal.rows, echoed["journal"], at["journal"])
	} else {
		p.wantSeries(l, "the refresh of journal", c.journal.branch, echoed["journal"], at["journal"])
	}
	if !p.swapped["members"] {
		p.wantPairs(l, "the refresh of members", c.members.branch, echoed["members"], at["members"])
	}
	if p.swapped["journal"] && c.journal.begun || p.swapped["members"] && c.members.begun {
		l.t.Errorf("a refresh that is over has a branch: %+v", c)
	}
	if c.wrong != 0 {
		l.t.Errorf("%d rows were never sent so", c.wrong)
	}
}

func (p *progress) wantSeries(l *lake, what string, got series, echoed, at int) {
	l.t.Helper()
	if p.exact {
		if got != seriesOf(at) {
			l.t.Errorf("%s holds %+v, its state says %d", what, got, at)
		}
		return
	}
	if got.least != 0 || got.ids != got.greatest+1 || got.ids < echoed {
		l.t.Errorf("state %d of %s was echoed; a reader sees %+v", echoed, what, got)
	}
}

func (p *progress) wantPairs(l *lake, what string, got map[int]int, echoed, at int) {
	l.t.Helper()
	if p.exact {
		if diff := cmp.Diff(accountsAt(at), got); diff != "" {
			l.t.Errorf("%s at %d (-want +got):\n%.2000s", what, at, diff)
		}
		return
	}
	// Records that came after the echoed state may have changed or deleted any of it.
	later := map[int]bool{}
	for n := echoed; n < max(p.furthest["accounts"], p.furthest["members"], at); n++ {
		if id, deleted := account(n); deleted {
			later[id] = true
		}
	}
	for id, version := range accountsAt(echoed) {
		if seen, there := got[id]; !there && !later[id] || there && seen < version {
			l.t.Errorf("state %d of %s was echoed; account %d has version %d, want %d", echoed, what, id, seen, version)
			return
		}
	}
}

// totals are the rows of totals by version, when they are all there.
func (f feed) totals() map[int]int {
	if f.lengths["totals"] == 0 {
		return nil
	}
	return map[int]int{f.version: f.lengths["totals"]}
}

// wantWhole checks the tables after a feed has come to its end. Log and journal may hold records
// twice if the feed was resumed from echoes.
func (l *lake) wantWhole(f feed, once bool) {
	l.t.Helper()
	c := l.census()
	for s, got := range map[string]series{"log": c.log, "journal": c.journal.rows} {
		want := seriesOf(f.lengths[s])
		if !once && got.rows > want.rows {
			got.rows = want.rows
		}
		if got != want {
			l.t.Errorf("%s holds %+v, want %+v", s, got, want)
		}
	}
	for s, got := range map[string]map[int]int{"accounts": c.accounts, "members": c.members.rows} {
		if diff := cmp.Diff(accountsAt(f.lengths[s]), got); diff != "" {
			l.t.Errorf("%s (-want +got):\n%.2000s", s, diff)
		}
	}
	if !maps.Equal(c.totals, f.totals()) {
		l.t.Errorf("totals holds %v rows by version, want %v", c.totals, f.totals())
	}
	if c.journal.old+c.members.old > 0 || c.journal.begun || c.members.begun {
		l.t.Errorf("the refreshes are not over: %+v", c)
	}
	if c.wrong != 0 {
		l.t.Errorf("%d rows were never sent so", c.wrong)
	}
	keyed := map[string]string{}
	for _, s := range feedStreams {
		if s.mode == protocol.AppendDedup && f.lengths[s.name] > 0 {
			keyed[s.name] = "id"
		}
	}
	for s, reading := range l.read(keyed) {
		got := map[int]int{}
		for _, r := range reading.Rows {
			values := row(l.t, slices.Concat(columnsOf(l.t, json.RawMessage(itemSchema)), airbyteColumns), r)
			got[int(values["id"].(int64))] = int(values["version"].(int64))
		}
		if want := accountsAt(f.lengths[s]); !maps.Equal(got, want) || len(reading.Rows) != len(got) {
			l.t.Errorf("both engines read %d rows of %s, want %d", len(reading.Rows), s, len(want))
		}
	}
}
