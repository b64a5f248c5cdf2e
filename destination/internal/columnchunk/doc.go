// Package columnchunk encodes the columns of Arrow batches as column chunks of Parquet
// files: from the buffers of a column to compressed pages, with no value on the way.
//
// Its terms are Parquet's. A leaf is a column of values, in structs and lists or not. A
// page holds, for each entry, its definition level, which says how much of the path to the
// value is there, and in lists the repetition level, which says where a list begins. After
// them come the values that are there, in the encoding PLAIN or RLE_DICTIONARY: these are
// the ones that every reader knows. Pages are of version 1 for the same reason.
//
// Levels are held by bits: word i of plane p has bit p of the levels of 64 entries, so
// that null bitmaps, which Arrow has, become levels 64 at a time.
package columnchunk
