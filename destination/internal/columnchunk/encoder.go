package columnchunk

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"runtime"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/metadata"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/zstdpage"
)

// Settings say how the chunks of a file are encoded.
type Settings struct {
	Codec     compress.Compression
	Compress  func(dst, page []byte) []byte // of the codec
	PageBytes int                           // of values in a page, before compression

	Dictionary, NoStatistics func(path string) bool // of the columns that have one, and of those without statistics
}

// An Encoder encodes row groups. It keeps its memory for the next ones, and is for one
// goroutine.
type Encoder struct {
	zstd             zstdpage.Encoder
	page, compressed []byte
	dictionary       dictionary
}

// A Choice is how well the pages of a column have been compressed.
type Choice struct {
	general bool // the general compressor made them much smaller
	pages   int  // until that is tried again
}

// RowGroup writes a batch as a row group. It returns the number of bytes written. start is
// the place in the file, and choices has one for each column of the file, for its next row
// groups.
func (e *Encoder) RowGroup(out io.Writer, start int64, meta *metadata.RowGroupMetaDataBuilder, rec arrow.RecordBatch, s *Settings, choices []Choice) (int64, error) {
	at := start
	leaves := 0
	for i, field := range rec.Schema().Fields() {
		err := eachLeaf(nil, field, rec.Column(i), func(l leaf) error {
			c := chunk{Encoder: e, out: out, at: at, leaf: l, values: valuesOf(l.values), meta: meta.NextColumnChunk(), settings: s, choice: &choices[leaves]}
			leaves++
			err := c.write()
			at = c.at
			return err
		})
		if err != nil {
			return at - start, err
		}
	}
	meta.SetNumRows(int(rec.NumRows()))
	e.shrink()
	return at - start, nil
}

// shrink drops memory that one huge value needed. A lot of it is collected at once: the
// next such value would come before the collector does.
func (e *Encoder) shrink() {
	const most, worthCollecting = 4 << 20, 32 << 20
	dropped := 0
	for _, b := range []*[]byte{&e.page, &e.compressed} {
		if cap(*b) > most {
			dropped += cap(*b)
			*b = nil
		}
	}
	if dropped > worthCollecting {
		runtime.GC()
	}
}

// A chunk is a column chunk that is being written.
type chunk struct {
	*Encoder
	leaf
	out      io.Writer
	at       int64 // place in the file
	values   values
	meta     *metadata.ColumnChunkMetaDataBuilder
	settings *Settings
	choice   *Choice

	info metadata.ChunkMetaInfo
}

func (c *chunk) write() error {
	path := c.meta.Descr().Path()
	c.info = metadata.ChunkMetaInfo{NumValues: int64(c.entries), IndexPageOffset: -1, DataPageOffset: -1}
	indexed := c.settings.Dictionary(path) && c.dictionary.build(c.values, c.present, c.leaf.values.Len())
	stats := metadata.EncodingStats{DataEncodingStats: map[parquet.Encoding]int32{}}
	encoding := parquet.Encodings.Plain
	size := c.values.size
	if indexed {
		c.info.DictPageOffset = c.at
		if err := c.writeDictionary(); err != nil {
			return err
		}
		encoding = parquet.Encodings.RLEDict
		stats.DictEncodingStats = map[parquet.Encoding]int32{parquet.Encodings.Plain: 1}
		size = func(from, to int) int { return (to - from) * c.dictionary.width() / 8 }
	}
	indices := c.dictionary.indices
	err := c.eachPage(c.settings.PageBytes, size, func(p page) error {
		stats.DataEncodingStats[encoding]++
		if c.info.DataPageOffset < 0 {
			c.info.DataPageOffset = c.at
		}
		c.page = appendLevels(c.page[:0], c.repetition, c.maxRepetition, p.a, p.b)
		c.page = appendLevels(c.page, c.definition, c.maxDefinition, p.a, p.b)
		levels, width := len(c.page), 0
		if indexed {
			n := countBits(c.present, p.from, p.to)
			c.page = append(c.page, byte(c.dictionary.width()))
			c.page = appendIndices(c.page, indices[:n], c.dictionary.width())
			indices = indices[n:]
			width = 1 // their bits seldom repeat by bytes
		} else {
			width = c.appendValues(p.from, p.to)
		}
		return c.writePage(dataPage(p.b-p.a, encoding), levels, width)
	})
	if err != nil {
		return err
	}
	if !c.settings.NoStatistics(path) {
		c.meta.SetStats(c.statistics(indexed))
	}
	return c.meta.Finish(c.info, indexed, false, stats)
}

// appendValues appends values to the page. It returns how many bytes each takes; 0 if they
// differ.
func (c *chunk) appendValues(from, to int) (width int) {
	if b, ok := c.values.(booleans); ok {
		w := bitAppender{dst: c.page}
		eachRun(c.present, from, to, func(from, to int) { b.pack(&w, from, to) })
		c.page = w.end()
		return 0
	}
	first := true
	eachRun(c.present, from, to, func(from, to int) {
		var w int
		c.page, w = c.values.append(c.page, from, to)
		if first {
			width, first = w, false
		} else if w != width {
			width = 0
		}
	})
	return width
}

// statistics are those of the values. Of a dictionary, each value counts once.
func (c *chunk) statistics(indexed bool) metadata.EncodedStatistics {
	var s statistics
	if t, ok := c.values.(texts); ok && indexed {
		for i := range c.dictionary.starts {
			s.lookText(c.dictionary.text(i))
		}
		return s.encoded(t, c.meta.Descr(), c.entries-c.count)
	}
	eachRun(c.present, 0, c.leaf.values.Len(), func(from, to int) { c.values.look(&s, from, to) })
	return s.encoded(c.values, c.meta.Descr(), c.entries-c.count)
}

func (c *chunk) writeDictionary() error {
	c.page = append(c.page[:0], c.dictionary.page...)
	return c.writePage(dictionaryPage(c.dictionary.entries), 0, 0)
}

// writePage compresses and writes the page. It begins with levels, and its values take
// width bytes each, if that is not 0.
func (c *chunk) writePage(h header, levels, width int) error {
	if len(c.page) > math.MaxInt32 {
		return fmt.Errorf("a page of column %s has %d bytes, more than Parquet allows", c.meta.Descr().Path(), len(c.page))
	}
	data := c.page
	if c.settings.Codec != compress.Codecs.Uncompressed {
		c.compressed = c.compress(levels, width)
		data = c.compressed
	}
	head := h.bytes(len(c.page), len(data))
	for _, part := range [][]byte{head, data} {
		n, err := c.out.Write(part)
		c.at += int64(n)
		if err != nil {
			return err
		}
	}
	c.info.CompressedSize += int64(len(head) + len(data))
	c.info.UncompressedSize += int64(len(head) + len(c.page))
	return nil
}

const (
	// maxCompared is how much of a page tells which compressor it is for.
	maxCompared = 16 << 10
	// pagesPerChoice is how many pages a choice is for.
	pagesPerChoice = 16
)

// compress returns the page compressed. A general compressor takes several times as long
// for values of one size, so it must make them much smaller.
func (c *chunk) compress(levels, width int) []byte {
	dst := c.compressed[:0]
	if width == 0 || width > zstdpage.MaxWidth || c.settings.Codec != compress.Codecs.Zstd || len(c.page) > 8<<20 {
		return c.settings.Compress(dst, c.page)
	}
	if c.choice.pages == 0 {
		c.choice.pages = pagesPerChoice
		values := c.page[levels:]
		skip := len(values) / 2 / width * width
		sample := values[skip : skip+min(len(values)-skip, maxCompared)/width*width]
		ours := len(c.zstd.Append(dst, sample, 0, width))
		c.choice.general = len(c.settings.Compress(dst, sample)) < ours-ours/8
	}
	c.choice.pages--
	if c.choice.general {
		return c.settings.Compress(dst, c.page)
	}
	return c.zstd.Append(dst, c.page, levels, width)
}

// A header is that of a page: a struct of Thrift in the compact protocol.
type header struct {
	kind, values, encoding int
}

const (
	dataPageKind       = 0
	dictionaryPageKind = 2
)

func dataPage(entries int, encoding parquet.Encoding) header {
	return header{kind: dataPageKind, values: entries, encoding: int(encoding)}
}

func dictionaryPage(values int) header {
	return header{kind: dictionaryPageKind, values: values, encoding: int(parquet.Encodings.Plain)}
}

func (h header) bytes(uncompressed, compressed int) []byte {
	const field = 1<<4 | 5 // of type i32, the number of which is one higher than that of the one before
	var b []byte
	add := func(v int) { b = binary.AppendVarint(append(b, field), int64(v)) }
	add(h.kind)
	add(uncompressed)
	add(compressed)
	const structure = 12
	if h.kind == dictionaryPageKind {
		b = append(b, 4<<4|structure) // field 7
		add(h.values)
		add(h.encoding)
	} else {
		b = append(b, 2<<4|structure) // field 5
		add(h.values)
		add(h.encoding)
		add(int(parquet.Encodings.RLE)) // of definition levels
		add(int(parquet.Encodings.RLE)) // of repetition levels
	}
	return append(b, 0, 0)
}
