package syncer

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// recordsOf returns RECORD messages of a stream, with ids from first on.
func recordsOf(t *testing.T, stream string, first, count int) *protocol.Records {
	t.Helper()
	var lines strings.Builder
	for i := range count {
		fmt.Fprintf(&lines, `{"type":"RECORD","record":{"stream":%q,"emitted_at":1700000000000,"data":{"id":%d}}}`+"\n", stream, first+i)
	}
	item, err := protocol.NewInput(strings.NewReader(lines.String()), slog.New(slog.DiscardHandler)).Next()
	if err != nil || item.Records == nil {
		t.Fatalf("no records: %v", err)
	}
	return item.Records
}

// writeFile has a worker write a data file of ten rows.
func writeFile(t *testing.T, w *worker, s *Stream) {
	t.Helper()
	storage := s.Table.Storage()
	target := storage.TargetFileBytes
	storage.TargetFileBytes = 1 // no row is too small for a file
	defer func() { storage.TargetFileBytes = target }()
	if err := w.decode(t.Context(), decodeJob{records: recordsOf(t, s.ID.Name, 100, 10), segment: 1}); err != nil {
		t.Fatal(err)
	}
	if err := w.writeRowGroup(t.Context(), w.all[0]); err != nil {
		t.Fatal(err)
	}
}

// A stream has one file for a commit while its rows make no more than a row group, however
// many workers have some of them.
func TestAFewRowsAreOneFile(t *testing.T) {
	tests := []struct {
		name     string
		segments []int64 // of the ten rows of each worker; 0: it has none
		limit    int     // bytes of columns that a worker holds
		aside    int     // so many workers have put their rows aside, as they do for other streams
		inFile   bool    // the last of the workers has ten rows more in a data file
		files    int
		rows     int
	}{
		{"all workers", []int64{1, 1, 1}, 1 << 20, 0, false, 1, 30},
		{"one worker", []int64{0, 1, 0}, 1 << 20, 0, false, 1, 10},
		{"rows of the next segment", []int64{1, 2, 1}, 1 << 20, 0, false, 1, 20},
		{"nothing but rows of the next segment", []int64{2, 2, 2}, 1 << 20, 0, false, 0, 0},
		{"more than a row group", []int64{1, 1, 1}, 100, 0, false, 3, 30},
		{"rows that all workers put aside", []int64{1, 1, 1}, 1 << 20, 3, false, 1, 30},
		{"rows that some workers put aside", []int64{1, 1, 1}, 1 << 20, 2, false, 1, 30},
		{"rows that one worker put aside", []int64{1, 0, 0}, 1 << 20, 3, false, 1, 10},
		{"rows of the next segment, in memory", []int64{1, 1, 2}, 1 << 20, 2, false, 1, 20},
		{"rows of the next segment, put aside", []int64{1, 2, 1}, 1 << 20, 2, false, 2, 20},
		{"rows put aside after others in a file", []int64{1, 1, 1}, 1 << 20, 3, true, 3, 40},
		{"rows in memory after others in a file", []int64{1, 1, 1}, 1 << 20, 2, true, 3, 40},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, _ := newTestRun(t, sameCatalog)
			jobs := make(chan decodeJob)
			for i, segment := range test.segments {
				w := newWorker(r.streams, test.limit, r.firstBad, r.longMessages)
				r.workers = append(r.workers, w)
				if test.inFile && i == len(test.segments)-1 {
					writeFile(t, w, r.streams.all[0])
				}
				if segment > 0 {
					job := decodeJob{records: recordsOf(t, "a", 10*i, 10), sequence: uint64(i), segment: segment}
					if err := w.decode(t.Context(), job); err != nil {
						t.Fatal(err)
					}
					if i < test.aside {
						if err := w.writeRowGroup(t.Context(), w.all[0]); err != nil {
							t.Fatal(err)
						}
					}
				}
				r.spawn(func() error { return w.run(t.Context(), jobs) })
			}
			commit := &tableCommit{stream: r.streams.all[0], upTo: 1}
			closed, err := r.closeFiles(t.Context(), &commitPlan{tables: []*tableCommit{commit, {stream: r.streams.all[1], upTo: 1}}})
			if err != nil {
				t.Fatal(err)
			}
			if err := closed(); err != nil {
				t.Fatal(err)
			}
			if len(commit.staged) != test.files {
				t.Errorf("%d files, want %d", len(commit.staged), test.files)
			}
			tbl := commit.stream.Table
			laketest.Commit(t, tbl, `{}`, commit.staged...)
			if rows := len(laketest.Rows(t, laketest.Load(t, tbl))); rows != test.rows {
				t.Errorf("%d rows, want %d", rows, test.rows)
			}
			for i, w := range r.workers {
				if b := w.buffers[""]["a"]; b != nil && (b.batch.Rows() > 0 || b.rows > 0) {
					t.Errorf("worker %d still has rows", i)
				}
			}
			close(jobs)
			if err := r.group.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
