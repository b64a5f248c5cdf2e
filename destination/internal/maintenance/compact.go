package maintenance

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// Compaction does two things. It merges data files of one partition that are
// neighbours in the order in which their rows arrived, so that the merged file can
// take their place in that order. And it rewrites files that have lost many rows.
// Files of an older partition spec keep that spec.
//
// Files are merged with files of about their own size, as in a log-structured
// merge tree: a run of files below a tier's limit is merged when it makes a file
// of the next tier. So a row is copied about once per tier, and there are five
// tiers below 512 MiB. Without tiers it would be copied every time that small
// files have come after it.
const (
	tierBytes  = 64 << 10 // the limit of the lowest tier
	tierGrowth = 8        // from each tier's limit to the next one's
	tierFiles  = 16       // fewer files are not worth a merge
	manyFiles  = 8 * tierFiles

	// thoroughFiles is how many small files are merged on demand, whatever
	// their sizes. It is the default of Iceberg's own rewrite_data_files.
	thoroughFiles = 5

	// A file is rewritten without its deleted rows if they are one in foldShare
	// or more. It waits until there are tierFiles such files, or foldBytes of
	// them: a few delete files of small data files cost a reader less than a
	// commit costs.
	foldShare = 4
	foldBytes = 16 << 20
)

// A bundle is data files that are rewritten into one.
type bundle struct {
	files []*snapshots.LiveFile // in the order of their rows
	made  []iceberg.DataFile
}

// compact rewrites the files that are worth it, as many as the time allows, and
// commits them in one snapshot. A dry run only counts them.
func (m *maintenance) compact(ctx context.Context, base *table.Table) error {
	if !m.Thorough && !m.worthPlanning(base) {
		return nil
	}
	cache := snapshots.Cache{}
	set, err := m.storage.List(base.SnapshotByName(m.table.Branch()), cache)
	if err != nil {
		return err
	}
	if set.EqualityDeletes > 0 {
		m.did.addNotDone("equality deletes of another program are not compacted: use that program")
		return nil
	}
	bundles, err := m.bundles(base, set)
	if err != nil || len(bundles) == 0 {
		return err
	}
	if m.DryRun {
		for _, b := range bundles {
			m.did.addCompacted(b.files, 1)
		}
		return nil
	}
	done, files, err := m.rewrite(ctx, base.Metadata(), bundles, set.SharedDeletes)
	if err != nil {
		return err
	}
	if left := len(bundles) - len(done); left > 0 {
		m.did.addNotDone("the time limit was reached before the last %d of %d merges of files", left, len(bundles))
	}
	if len(done) == 0 {
		return nil
	}
	var landed Report
	_, err = m.table.ChangeBranch(ctx, m.table.Branch(), files, func(_ context.Context, base *table.Table) (*snapshots.Change, error) {
		landed = Report{}
		now, err := m.storage.List(base.SnapshotByName(m.table.Branch()), cache)
		if err != nil {
			return &snapshots.Change{}, err
		}
		return swap(done, set, now, &landed), nil
	})
	if err != nil {
		return err
	}
	m.did.CompactedFiles, m.did.IntoFiles, m.did.FoldedDeletes, m.did.CompactedBytes = landed.CompactedFiles, landed.IntoFiles, landed.FoldedDeletes, landed.CompactedBytes
	return nil
}

// addCompacted adds that data files became so many.
func (r *Report) addCompacted(files []*snapshots.LiveFile, into int) {
	r.CompactedFiles += len(files)
	r.CompactedBytes += size(files)
	r.IntoFiles += into
	for _, f := range files {
		r.FoldedDeletes += len(f.Deletes)
	}
}

// worthPlanning reports whether a compaction may be worth its cost. It reads only
// the summary of the snapshot whose files would be compacted.
func (m *maintenance) worthPlanning(base *table.Table) bool {
	s := base.SnapshotByName(m.table.Branch())
	if s == nil {
		return false
	}
	if s.Summary == nil {
		return true
	}
	total := s.Summary.Properties.GetInt64
	return total("total-data-files", math.MaxInt64) >= tierFiles ||
		total("total-position-deletes", 0)*foldShare >= total("total-records", 0)
}

// bundles plans a compaction: which files are rewritten together.
func (m *maintenance) bundles(base *table.Table, set *snapshots.Set) ([]*bundle, error) {
	files := slices.Clone(set.Files)
	// The files of one commit have no order. The smallest come last, so that a
	// run of small files ends where a commit does.
	byCommit := snapshots.ByCommit(base.Metadata())
	slices.SortStableFunc(files, func(a, b *snapshots.LiveFile) int {
		return cmp.Or(byCommit(a, b), -cmp.Compare(a.Data.FileSizeBytes(), b.Data.FileSizeBytes()),
			strings.Compare(a.Data.FilePath(), b.Data.FilePath()))
	})
	var found []*bundle
	taken := map[*snapshots.LiveFile]bool{}
	split := func(files []*snapshots.LiveFile) ([][]*snapshots.LiveFile, error) {
		return m.splitBySchema(base, files)
	}
	for _, partition := range partitions(files) {
		merged, err := merges(partition, m.mergedBytes(), m.Thorough, split)
		if err != nil {
			return nil, err
		}
		for _, m := range merged {
			found = append(found, &bundle{files: m})
			for _, f := range m {
				taken[f] = true
			}
		}
	}
	var rest []*snapshots.LiveFile
	for _, f := range files {
		if !taken[f] {
			rest = append(rest, f)
		}
	}
	for _, f := range filesWithManyDeletes(rest, m.Thorough) {
		found = append(found, &bundle{files: []*snapshots.LiveFile{f}})
	}
	return found, nil
}

// mergedBytes is the largest size of a merged file: the target size, or less in a
// table with so many columns that the file would have too many column chunks. A
// row group takes about a quarter of its size in memory.
func (m *maintenance) mergedBytes() int64 {
	return min(m.storage.TargetFileBytes, int64(max(1, parquetfile.MaxChunks/len(m.opened.Schema().FieldIDs())))*snapshots.RewriteBatchBytes/4)
}

// partitions groups files by their partition and keeps their order.
func partitions(files []*snapshots.LiveFile) [][]*snapshots.LiveFile {
	var all [][]*snapshots.LiveFile
	at := map[string]int{}
	for _, f := range files {
		name := snapshots.PartitionOf(f.Data)
		i, known := at[name]
		if !known {
			i = len(all)
			at[name], all = i, append(all, nil)
		}
		all[i] = append(all[i], f)
	}
	return all
}

// merges lists the groups of files to merge, tier by tier, the lowest first.
// splitBySchema splits a run of files into parts that can be merged.
func merges(files []*snapshots.LiveFile, target int64, thorough bool, splitBySchema func([]*snapshots.LiveFile) ([][]*snapshots.LiveFile, error)) ([][]*snapshots.LiveFile, error) {
	full := target / 4 * 3
	tier := int64(tierBytes)
	if thorough {
		tier = full
	}
	taken := map[*snapshots.LiveFile]bool{}
	var found [][]*snapshots.LiveFile
	for ; ; tier *= tierGrowth {
		tier = min(tier, full)
		worth := func(files []*snapshots.LiveFile) bool {
			if thorough {
				return len(files) >= thoroughFiles
			}
			return len(files) >= manyFiles || len(files) >= tierFiles && (tier == tierBytes || size(files) >= 2*tier)
		}
		for _, stretch := range runsOfSmallFiles(files, func(f *snapshots.LiveFile) bool { return f.Data.FileSizeBytes() < tier && !taken[f] }) {
			if !worth(stretch) {
				continue
			}
			parts, err := splitBySchema(stretch)
			if err != nil {
				return nil, err
			}
			for _, part := range slices.DeleteFunc(parts, func(p []*snapshots.LiveFile) bool { return !worth(p) }) {
				for _, bin := range slices.DeleteFunc(packBins(part, target), func(b []*snapshots.LiveFile) bool { return len(b) == 1 }) {
					found = append(found, bin)
					for _, f := range bin {
						taken[f] = true
					}
				}
			}
		}
		if tier == full {
			return found, nil
		}
	}
}

// filesWithManyDeletes lists the files to rewrite without their deleted rows.
func filesWithManyDeletes(files []*snapshots.LiveFile, thorough bool) []*snapshots.LiveFile {
	var found []*snapshots.LiveFile
	for _, f := range files {
		var deleted int64
		for _, d := range f.Deletes {
			deleted += d.Data.Count()
		}
		if deleted > 0 && (thorough || deleted*foldShare >= f.Data.Count()) {
			found = append(found, f)
		}
	}
	if thorough || len(found) >= tierFiles || size(found) >= foldBytes {
		return found
	}
	return nil
}

func size(files []*snapshots.LiveFile) (bytes int64) {
	for _, f := range files {
		bytes += f.Data.FileSizeBytes()
	}
	return bytes
}

// runsOfSmallFiles lists the longest runs of neighbouring files that fit, in order.
func runsOfSmallFiles(files []*snapshots.LiveFile, fits func(*snapshots.LiveFile) bool) [][]*snapshots.LiveFile {
	var all [][]*snapshots.LiveFile
	start := 0
	for i := range len(files) + 1 {
		if i < len(files) && fits(files[i]) {
			continue
		}
		if i > start {
			all = append(all, files[start:i:i])
		}
		start = i + 1
	}
	return all
}

// splitBySchema splits a run of files where their columns change: a file that is
// rewritten keeps the columns it has. One that cannot be copied stays alone.
func (m *maintenance) splitBySchema(base *table.Table, files []*snapshots.LiveFile) ([][]*snapshots.LiveFile, error) {
	var all [][]*snapshots.LiveFile
	var last *arrow.Schema
	start := 0
	for i, f := range files {
		in, err := parquetfile.Open(m.storage.Files, f.Data, base.Metadata(), m.storage.Memory)
		if err != nil {
			return nil, err
		}
		_, schema, err := in.Known()
		m.decoded[f.Data.FilePath()] = in.DecodedBytes()
		in.Close()
		if err != nil && !errors.As(err, new(parquetfile.ForeignError)) {
			return nil, err
		}
		if i > 0 && (last == nil || schema == nil || !schema.Equal(last)) {
			all = append(all, files[start:i:i])
			start = i
		}
		last = schema
	}
	return append(all, files[start:]), nil
}

// packBins splits a run of files into bins of the target size. A bin that starts
// before the files of a commit takes all of that commit's files: the merged file
// gets the sequence number of the last of them, and a file of that commit outside
// of the bin could then be neither before nor after it.
func packBins(files []*snapshots.LiveFile, target int64) [][]*snapshots.LiveFile {
	var all [][]*snapshots.LiveFile
	start, bytes := 0, int64(0)
	for i, f := range files {
		maySplit := i > start && (f.Sequence != files[i-1].Sequence || f.Sequence == files[start].Sequence)
		if maySplit && bytes+f.Data.FileSizeBytes() > target {
			all = append(all, files[start:i:i])
			start, bytes = i, 0
		}
		bytes += f.Data.FileSizeBytes()
	}
	return append(all, files[start:])
}
