package maintenance

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// rewrite rewrites the bundles. It returns those that it completed within three
// quarters of the time; the last quarter is for the commit.
func (m *maintenance) rewrite(ctx context.Context, meta table.Metadata, bundles []*bundle, shared []snapshots.DeleteFile) (done []*bundle, files []iceberg.DataFile, err error) {
	limited, cancel := ctx, func() {}
	if until, ok := ctx.Deadline(); ok {
		limited, cancel = context.WithTimeout(ctx, time.Until(until)/4*3)
	}
	defer cancel()
	for _, b := range bundles {
		if b.made, err = m.combine(limited, meta, b.files, shared); err != nil {
			if errors.Is(limited.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
				return done, files, nil
			}
			return nil, nil, errors.Join(err, m.storage.RemoveAll(pathsOf(files)))
		}
		done = append(done, b)
		files = append(files, b.made...)
	}
	return done, files, nil
}

// combine copies the rows of files that are not deleted into a new file, in the
// table's sort order if it has one.
func (m *maintenance) combine(ctx context.Context, meta table.Metadata, files []*snapshots.LiveFile, shared []snapshots.DeleteFile) ([]iceberg.DataFile, error) {
	end, err := m.storage.Memory.Begin(ctx, m.combineBytes(files))
	if err != nil {
		return nil, err
	}
	defer end()
	c := &snapshots.Change{}
	r := m.storage.Rewriter(meta, c, parquetfile.OneFile, meta.SortOrder())
	err = func() error {
		for _, f := range files {
			if err := ctx.Err(); err != nil {
				return err
			}
			deleted, err := m.storage.Deleted(ctx, f, shared)
			if err != nil {
				return err
			}
			if err := r.Copy(ctx, f.Data, deleted); err != nil {
				return err
			}
		}
		return r.Close(ctx)
	}()
	if err != nil {
		return nil, errors.Join(err, r.Abort())
	}
	return c.Add, nil
}

// combineBytes is the memory that it takes to combine files. Those of a few rows take
// less than others, so that many tables that are written often are maintained at once.
func (m *maintenance) combineBytes(files []*snapshots.LiveFile) int64 {
	const writer = 4 << 20 // of a file, whatever its rows
	var decoded float64
	for _, f := range files {
		of, known := m.decoded[f.Data.FilePath()]
		if !known {
			return snapshots.RewriteBytes
		}
		decoded += of
	}
	return int64(min(writer+3*decoded, snapshots.RewriteBytes)) // read, joined and sorted
}

func pathsOf(files []iceberg.DataFile) []string {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.FilePath()
	}
	return paths
}

// swap replaces the files of each bundle by the rewritten ones, unless another
// program has changed those files or their deletes since they were read.
func swap(bundles []*bundle, read, now *snapshots.Set, did *Report) *snapshots.Change {
	c := &snapshots.Change{Operation: table.OpReplace, Sequences: map[string]int64{}}
	files := map[string]*snapshots.LiveFile{}
	for _, f := range now.Files {
		files[f.Data.FilePath()] = f
	}
	sameShared := now.EqualityDeletes == 0 && sameDeletes(read.SharedDeletes, now.SharedDeletes)
	for _, b := range bundles {
		same := sameShared && !slices.ContainsFunc(b.files, func(f *snapshots.LiveFile) bool {
			g := files[f.Data.FilePath()]
			return g == nil || !sameDeletes(f.Deletes, g.Deletes)
		})
		if !same {
			c.SupersededFiles = append(c.SupersededFiles, pathsOf(b.made)...)
			continue
		}
		for _, f := range b.files {
			c.RemoveFile(files[f.Data.FilePath()]) // a commit in between may have moved it to another manifest
		}
		for _, f := range b.made {
			c.Add = append(c.Add, f)
			c.Sequences[f.FilePath()] = b.files[len(b.files)-1].Sequence
		}
		did.addCompacted(b.files, len(b.made))
	}
	return c
}

func sameDeletes(a, b []snapshots.DeleteFile) bool {
	keys := func(deletes []snapshots.DeleteFile) map[snapshots.FileKey]bool {
		set := map[snapshots.FileKey]bool{}
		for _, d := range deletes {
			set[snapshots.KeyOf(d.Data)] = true
		}
		return set
	}
	x, y := keys(a), keys(b)
	for k := range x {
		if !y[k] {
			return false
		}
	}
	return len(x) == len(y)
}
