package inspect

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// yieldNewest yields the rows with the highest _airbyte_extracted_at, the newest first.
// Of rows with the same one, the row is newer that was committed later, and of one commit
// the one that is later in its file.
func (r *reading) yieldNewest(ctx context.Context, yield func(Row, error) bool) {
	column, ok := r.tbl.Schema().FindFieldByName(extractedAt)
	if _, isTime := column.Type.(iceberg.TimestampTzType); !ok || !isTime {
		yield(nil, protocol.ConfigError.Errorf(nil, "The table has no column %s of times, so nobody knows which of its rows are the newest.", extractedAt))
		return
	}
	slices.SortStableFunc(r.tasks, func(a, b table.FileScanTask) int { // what comes after the newest rows is not read
		return cmp.Compare(newestIn(b, column), newestIn(a, column))
	})
	var kept newestRows
	size := 0
	for _, task := range r.tasks {
		if len(kept) == r.limit && newestIn(task, column) < kept[0].extracted {
			break
		}
		for found, err := range r.fileRows(ctx, task) {
			if err != nil {
				yield(nil, err)
				return
			}
			next := newestRow{extracted: found.extracted(column), task: task, number: found.number}
			if len(kept) == r.limit {
				if next.compare(kept[0]) < 0 {
					continue
				}
				size -= kept[0].size
				heap.Pop(&kept)
			}
			next.row = found.row()
			next.size = sizeOf(next.row)
			if size += next.size; size > r.bytes {
				yield(nil, protocol.ConfigError.Errorf(nil, "The newest %d rows take more than %d MiB of memory. Choose fewer, or name only the columns that you need.", r.limit, r.bytes>>20))
				return
			}
			heap.Push(&kept, next)
		}
	}
	slices.SortFunc(kept, func(a, b newestRow) int { return b.compare(a) })
	for _, k := range kept {
		if !yield(k.row, nil) {
			return
		}
	}
}

// newestIn is the highest time that a file can have in a column.
func newestIn(task table.FileScanTask, column iceberg.NestedField) int64 {
	bound := task.File.UpperBoundValues()[column.ID]
	if len(bound) != 8 {
		return math.MaxInt64
	}
	return int64(binary.LittleEndian.Uint64(bound)) //nolint:gosec // the bits of a signed number
}

// extracted is the time in a column in microseconds, the earliest if there is none.
func (f foundRow) extracted(column iceberg.NestedField) int64 {
	at := byFieldID(f.batch.Schema().Fields(), column, 0)
	if at < 0 {
		at = byName(f.batch.Schema().Fields(), column, 0)
	}
	if at < 0 {
		return math.MinInt64
	}
	times, ok := f.batch.Column(at).(*array.Timestamp)
	if !ok || times.IsNull(f.at) {
		return math.MinInt64
	}
	return times.Value(f.at).ToTime(times.DataType().(*arrow.TimestampType).Unit).UnixMicro()
}

type newestRow struct {
	extracted int64
	task      table.FileScanTask
	number    int64 // in its file
	row       Row
	size      int
}

func (a newestRow) compare(b newestRow) int {
	return cmp.Or(
		cmp.Compare(a.extracted, b.extracted), cmp.Compare(sequence(a.task), sequence(b.task)),
		strings.Compare(a.task.File.FilePath(), b.task.File.FilePath()), cmp.Compare(a.number, b.number),
	)
}

// newestRows is a heap with the oldest row first.
type newestRows []newestRow

func (n newestRows) Len() int           { return len(n) }
func (n newestRows) Less(i, j int) bool { return n[i].compare(n[j]) < 0 }
func (n newestRows) Swap(i, j int)      { n[i], n[j] = n[j], n[i] }
func (n *newestRows) Push(x any)        { *n = append(*n, x.(newestRow)) }

func (n *newestRows) Pop() any {
	last := len(*n) - 1
	row := (*n)[last]
	(*n)[last] = newestRow{}
	*n = (*n)[:last]
	return row
}

// sizeOf is about how many bytes a value takes in memory.
func sizeOf(value any) int {
	const header = 40 // of an interface, a string's header and a name
	switch v := value.(type) {
	case string:
		return header + len(v)
	case json.Number:
		return header + len(v)
	case Row:
		n := header
		for _, c := range v {
			n += sizeOf(c.Value)
		}
		return n
	case []any:
		n := header
		for _, e := range v {
			n += sizeOf(e)
		}
		return n
	}
	return header
}
