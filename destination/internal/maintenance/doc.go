// Package maintenance keeps tables in shape, after a write and on demand: it merges small
// data files, expires snapshots, and removes files that nothing needs.
//
// Maintenance runs beside readers and writers, and may be stopped anywhere. So each
// step leaves the table correct: a compaction replaces only files that are still as
// they were when it read them, and a file is removed only after the metadata that
// names it. What a step leaves undone, the next run finds.
//
// It removes files for good, from directories in which other programs keep files,
// too: see surroundings.go for how it knows which are this program's.
//
// # Terms
//
//   - tier: a range of file sizes. Files are merged with files of their own tier.
//   - bundle: data files that are rewritten into one.
//   - fold in deletes: rewrite a data file without its deleted rows.
//   - orphan: a file under the table's location that nothing names, and that is
//     older than a day; also one whose upload was begun a day ago and not completed.
//   - history: the metadata files that the table has had, and when each was
//     superseded.
//   - surroundings: to whom else files below the table's location may belong.
//   - thorough: everything that can be done, as the maintain command asks for.
package maintenance
