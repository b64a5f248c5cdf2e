package columnar

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// expectRowsOf compares all but the ids of rows, which are random.
func expectRowsOf(t *testing.T, b, want *Batch) {
	t.Helper()
	got, wanted := validRecord(t, b), validRecord(t, want)
	if !slices.Equal(b.Order(), want.Order()) {
		t.Fatal("rows are in another order")
	}
	for i := range int(wanted.NumCols()) {
		if i == int(wanted.NumCols())-airbyteColumns+rawIDColumn {
			continue
		}
		if !array.Equal(got.Column(i), wanted.Column(i)) {
			t.Fatalf("column %s has other values", wanted.ColumnName(i))
		}
	}
}

// listSchema is a stream with what the workloads do not have: lists, in objects and in
// lists, JSON text and decimals.
var listSchema = properties(`"id":{"type":"number"},"texts":{"type":"array","items":{"type":"string"}},` +
	`"objects":{"type":"array","items":{"type":"object","properties":{"n":{"type":"integer"},"yes":{"type":"boolean"},` +
	`"dates":{"type":"array","items":{"type":"string","format":"date"}}}}},"any":{}`)

func dedupStream(schema string) protocol.ConfiguredStream {
	s := stream(schema)
	s.DestinationSyncMode, s.PrimaryKey = protocol.AppendDedup, [][]string{{"id"}}
	return s
}

func listLines(r *rand.Rand, count int) [][]byte {
	lines := make([][]byte, count)
	for i := range lines {
		texts := strings.Repeat(`"text",`, r.IntN(5)) + "null"
		object := fmt.Sprintf(`{"n":%d,"yes":%t,"dates":["2026-01-%02d",null]}`, r.Int64(), r.IntN(2) == 0, 1+r.IntN(28))
		objects := strings.Repeat(object+",", r.IntN(4)) + "{}"
		lines[i] = []byte([]string{
			recordLine(fmt.Sprintf(`{"id":%d.5,"texts":[%s],"objects":[%s],"any":{"a":[%d]}}`, i, texts, objects, i)),
			recordLine(fmt.Sprintf(`{"id":%d,"texts":null,"any":%d,"_ab_cdc_deleted_at":"2026-01-01T00:00:00Z"}`, i, i)),
			recordLine(fmt.Sprintf(`{"id":%d,"objects":[]}`, i)),
		}[r.IntN(3)])
	}
	return lines
}

// Streams take turns of any length, and their batches use memory of each other.
func TestMemoryOfOtherBatchesHasNoTraces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var free FreeList
	var d Decoder
	type stream struct {
		batch, fresh *Batch // with the same rows
		lines        [][]byte
	}
	streams := make([]stream, len(workloads)+1)
	for i, w := range workloads {
		streams[i] = stream{w.batch(t), w.batch(t), bytes.SplitAfter(w.lines(1<<20), []byte("\n"))}
	}
	lists := func() *Batch { return newTestBatch(t, dedupStream(listSchema), Options{}) }
	streams[len(workloads)] = stream{lists(), lists(), listLines(r, 2000)}
	taken := 0
	for range testsize.Of(80, 400) {
		i := r.IntN(len(streams))
		s := &streams[i]
		for range 1 + r.IntN(4) {
			from := r.IntN(len(s.lines))
			lines := bytes.Join(s.lines[from:min(len(s.lines), from+r.IntN(200))], nil)
			for _, b := range []*Batch{s.batch, s.fresh} {
				if err := d.Decode(lines, 1, 0, to(b)); err != nil {
					t.Fatal(err)
				}
			}
			before := free.Bytes()
			s.batch.Grow(&free)
			taken += max(0, before-free.Bytes())
			if s.batch.Rows() != s.fresh.Rows() || s.batch.Bytes() != s.fresh.Bytes() {
				t.Fatalf("%d rows of %d bytes, not %d of %d", s.batch.Rows(), s.batch.Bytes(), s.fresh.Rows(), s.fresh.Bytes())
			}
		}
		if r.IntN(2) == 0 {
			expectRowsOf(t, s.batch, s.fresh)
			s.batch.Release(&free)
			if s.fresh = lists(); i < len(workloads) {
				s.fresh = workloads[i].batch(t)
			}
			if s.batch.Rows() != 0 || s.batch.Bytes() != 0 {
				t.Fatalf("%d rows of %d bytes are left", s.batch.Rows(), s.batch.Bytes())
			}
		}
		if r.IntN(10) == 0 {
			to := r.IntN(1 << 20)
			if free.Shrink(to); free.Bytes() > to {
				t.Fatalf("%d bytes are left of %d", free.Bytes(), to)
			}
		}
	}
	if taken < 1<<20 {
		t.Errorf("batches took %d bytes from others", taken)
	}
}

func TestABatchGrowsIntoTheMemoryOfAnother(t *testing.T) {
	for _, w := range workloads {
		t.Run(w.name, func(t *testing.T) {
			lines := bytes.SplitAfter(w.lines(1<<20), []byte("\n"))
			var free FreeList
			var d Decoder
			decode := func(b *Batch) {
				for chunk := range slices.Chunk(lines, 20) {
					if err := d.Decode(bytes.Join(chunk, nil), 1, 0, to(b)); err != nil {
						t.Fatal(err)
					}
					b.Grow(&free)
				}
				b.Record()
			}
			first, second := w.batch(t), w.batch(t)
			decode(first)
			held := first.Capacity() + free.Bytes()
			first.Release(&free)
			if left := first.Capacity() + free.Bytes(); left < held*9/10 || left > held || free.Bytes() < left*9/10 {
				t.Errorf("of %d bytes, %d are free and %d still in the batch", held, free.Bytes(), first.Capacity())
			}
			decode(second)
			if now := second.Capacity() + free.Bytes(); now > held*3/2 {
				t.Errorf("the second batch and what is free take %d bytes; the first took %d", now, held)
			}
		})
	}
}
