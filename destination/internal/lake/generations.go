package lake

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

const generationColumn = "_airbyte_generation_id"

// CommittedState returns the state from which a sync continues: that of the
// unfinished refresh, if there is one. If the sync starts a new generation and
// must remove the older ones, it is nil, whatever state the older rows have. g is
// nil if the sync has no ids.
func CommittedState(ctx context.Context, tbl *table.Table, p *columnar.Plan, g *Generation) (json.RawMessage, error) {
	branchState := func(n int64) (json.RawMessage, error) {
		branch := branchOf(n)
		state, err := stateAt(ctx, tbl, branch, tbl.SnapshotByName(branch))
		return state, explainState(tbl, err)
	}
	branches := generationsOf(tbl.Metadata())
	if g == nil || g.Minimum == 0 {
		for _, n := range slices.Backward(branches) {
			if state, err := branchState(n); state != nil || err != nil {
				return state, err
			}
		}
		return LastState(ctx, tbl)
	}
	if tbl.SnapshotByName(branchOf(g.ID)) != nil {
		return branchState(g.ID)
	}
	t := newTable(nil, p, Options{})
	if err := t.adopt(ctx, tbl); err != nil {
		return nil, err
	}
	older, err := olderRows{t, tbl, g.Minimum}.exist(ctx)
	if err != nil || older {
		return nil, err
	}
	return LastState(ctx, tbl)
}

// olderRows are the rows of a table that belong to generations before a minimum.
type olderRows struct {
	t       *Table
	base    *table.Table
	minimum int64
}

// exist reports whether the main branch has such rows. Deleted ones do not count.
func (o olderRows) exist(ctx context.Context) (bool, error) {
	set, err := o.t.storage.List(o.base.CurrentSnapshot(), snapshots.Cache{})
	if err != nil {
		return false, err
	}
	for _, f := range set.Files {
		older, err := o.in(ctx, f)
		if err != nil {
			return false, err
		}
		if older == nil {
			continue
		}
		deleted, err := o.t.storage.Deleted(ctx, f, set.SharedDeletes)
		if err != nil {
			return false, err
		}
		for row := range older.All() {
			if !deleted.Has(row) {
				return true, nil
			}
		}
	}
	return false, nil
}

// remove removes the rows: c removes whole files from the table, and single rows
// are marked as deleted in the set.
func (o olderRows) remove(ctx context.Context, c *snapshots.Change, set *snapshots.Set) error {
	if o.minimum == 0 {
		return nil
	}
	var keep []*snapshots.LiveFile
	for _, f := range set.Files {
		older, err := o.in(ctx, f)
		switch {
		case err != nil:
			return err
		case older != nil && older.Count() == f.Data.Count():
			c.RemoveFile(f)
		default:
			f.Older = older
			keep = append(keep, f)
		}
	}
	set.Files = keep
	return nil
}

// in returns which rows of a data file are older, nil if there are none. A row without a
// generation counts as generation 0 if the table's generations have ever been counted.
// Otherwise it belongs to none: a sync without ids, or with constant ones, wrote it.
func (o olderRows) in(ctx context.Context, f *snapshots.LiveFile) (parquetfile.Positions, error) {
	_, nullsOlder := o.base.Properties()[generationsKey]
	field, ok := o.base.Schema().FindFieldByName(generationColumn)
	rows := f.Data.Count()
	every := func() parquetfile.Positions {
		all := parquetfile.NewPositions(rows)
		for row := range rows {
			all.Add(row)
		}
		return all
	}
	ofNulls := func() parquetfile.Positions { // of a file in which every row is null
		if !nullsOlder || rows == 0 {
			return nil
		}
		return every()
	}
	low, high, nulls, known := generationBounds(f.Data, field.ID)
	switch {
	case !ok || known && nulls == rows:
		return ofNulls(), nil
	case known && low >= o.minimum && (nulls == 0 || !nullsOlder):
		return nil, nil
	case known && high < o.minimum && (nulls == 0 || nullsOlder):
		return every(), nil
	}
	r, err := parquetfile.Open(o.t.storage.Files, f.Data, o.base.Metadata(), o.t.storage.Memory)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	columns, missing := r.Columns([]iceberg.NestedField{field})
	if missing {
		return ofNulls(), nil
	}
	var found parquetfile.Positions
	for p, err := range r.Pieces(ctx, columns) {
		if err != nil {
			return nil, err
		}
		got, err := r.Read(ctx, p, columns)
		if err != nil {
			return nil, err
		}
		ids, ok := got[0].(*array.Int64)
		if !ok {
			return nil, fmt.Errorf("reading %s: column %s is %s", f.Data.FilePath(), generationColumn, got[0].DataType())
		}
		for i := range ids.Len() {
			if ids.IsNull(i) && nullsOlder || ids.IsValid(i) && ids.Value(i) < o.minimum {
				if found == nil {
					found = parquetfile.NewPositions(rows)
				}
				found.Add(p.First + int64(i))
			}
		}
	}
	return found, nil
}

// generationBounds returns what the manifest says about a data file's generations.
// known is false if it does not say enough.
func generationBounds(d iceberg.DataFile, id int) (low, high, nulls int64, known bool) {
	nulls, counted := d.NullValueCounts()[id]
	if !counted {
		return 0, 0, 0, false
	}
	if nulls == d.Count() {
		return 0, 0, nulls, true
	}
	l, h := d.LowerBoundValues()[id], d.UpperBoundValues()[id]
	if len(l) != 8 || len(h) != 8 {
		return 0, 0, 0, false
	}
	return int64(binary.LittleEndian.Uint64(l)), int64(binary.LittleEndian.Uint64(h)), nulls, true
}

// stageBranch turns the files of a branch into staged files.
func stageBranch(ctx context.Context, t *Table, base *table.Table, set *snapshots.Set) ([]*stagedFile, *rowkeys.Index, error) {
	index := rowkeys.NewIndex(t.storage.Scratch(), t.storage.Memory)
	columns, err := keyColumns(t, base.Schema())
	if err != nil {
		return nil, index, err
	}
	set.SortByArrival(base.Metadata())
	var files []*stagedFile
	var arrival uint64 // of the next row
	for _, f := range set.Files {
		s := &stagedFile{data: f.Data}
		if len(f.Deletes)+len(set.SharedDeletes) > 0 {
			if s.deletedRows, err = t.storage.Deleted(ctx, f, set.SharedDeletes); err != nil {
				return nil, index, err
			}
		}
		if t.plan.Dedup {
			s.keys = rowkeys.NewFile(s.deletedRows)
			if err := indexFile(ctx, t, base, f.Data, columns, s.keys, index, arrival); err != nil {
				return nil, index, err
			}
		}
		files = append(files, s)
		arrival += uint64(f.Data.Count())
	}
	return files, index, nil
}

func indexFile(ctx context.Context, t *Table, base *table.Table, data iceberg.DataFile, columns rowkeys.FileColumns, keys *rowkeys.File, index *rowkeys.Index, arrival uint64) error {
	r, err := parquetfile.Open(t.storage.Files, data, base.Metadata(), t.storage.Memory)
	if err != nil {
		return err
	}
	defer r.Close()
	return index.AddFile(ctx, r, columns, keys, arrival)
}
