// Package zstdpage compresses pages of Parquet files whose values are all of one size:
// numbers, times, and texts that are equally long, as ids are. What it makes are zstd
// frames like any others.
//
// A general compressor looks for repetitions everywhere, which is most of its work. In
// such a page they are where one knows beforehand: a value shares some of its bytes,
// the same ones for thousands of values, with the value before. So each block says once
// which bytes these are, and holds the others, coded by their frequency. The sequences
// of a block are all alike, which the format stores in no bits at all.
//
// The format is that of RFC 8878. Its terms: a frame is made of blocks of at most 128 KiB.
// A compressed block holds literals, which are bytes as they are, and sequences, each of
// which is a number of literals followed by a match: a number of bytes to repeat from so
// many bytes before, the offset.
package zstdpage
