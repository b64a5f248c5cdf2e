package parquetfile

import (
	"encoding/binary"
	"io"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnchunk"
)

// newContent begins a file. Columns of types that only other programs write are left to
// the library.
func newContent(schema *arrow.Schema, out io.Writer, e *Encoding) (content, error) {
	properties := e.properties()
	columns, err := pqarrow.ToParquet(schema, properties, pqarrow.DefaultWriterProps())
	if err != nil {
		return nil, err
	}
	if !columnchunk.Supports(schema.Fields(), columns) {
		w, err := pqarrow.NewFileWriter(schema, out, properties, pqarrow.DefaultWriterProps())
		return libraryContent{w}, err
	}
	keys := metadata.NewKeyValueMetadata()
	for i, key := range schema.Metadata().Keys() {
		if err := keys.Append(key, schema.Metadata().Values()[i]); err != nil {
			return nil, err
		}
	}
	c := &encodedContent{
		out: out, meta: metadata.NewFileMetadataBuilder(columns, properties, keys),
		settings: e.settings(), choices: make([]columnchunk.Choice, columns.NumColumns()),
	}
	return c, c.write([]byte(magic))
}

// magic is what Parquet files begin and end with.
const magic = "PAR1"

// settings are the encoding of pages.
func (e *Encoding) settings() columnchunk.Settings {
	s := columnchunk.Settings{
		Codec: e.codec, PageBytes: int(e.pageBytes),
		Dictionary:   func(path string) bool { return slices.Contains(e.dictionaries, path) },
		NoStatistics: func(path string) bool { return slices.Contains(e.noStatistics, path) },
	}
	if e.codec != compress.Codecs.Uncompressed {
		codec, err := compress.GetCodec(e.codec)
		if err != nil {
			panic(err) // it is part of the library
		}
		s.Compress = func(dst, page []byte) []byte { return codec.EncodeLevel(dst[:cap(dst)], page, e.level) }
	}
	return s
}

// encodedContent is row groups whose pages this program encodes.
type encodedContent struct {
	out      io.Writer
	at       int64 // place in the file
	meta     *metadata.FileMetaDataBuilder
	groups   int
	settings columnchunk.Settings
	choices  []columnchunk.Choice
}

// pageEncoders belong to files only while a row group is written.
var pageEncoders = sync.Pool{New: func() any { return new(columnchunk.Encoder) }}

func (c *encodedContent) write(b []byte) error {
	n, err := c.out.Write(b)
	c.at += int64(n)
	return err
}

func (c *encodedContent) rowGroup(rec arrow.RecordBatch) error {
	e := pageEncoders.Get().(*columnchunk.Encoder)
	defer pageEncoders.Put(e)
	group := c.meta.AppendRowGroup()
	n, err := e.RowGroup(c.out, c.at, group, rec, &c.settings, c.choices)
	c.at += n
	if err != nil {
		return err
	}
	c.groups++
	return group.Finish(0, int16(c.groups-1))
}

func (c *encodedContent) close() (*metadata.FileMetaData, error) {
	meta, err := c.meta.Finish()
	if err != nil {
		return nil, err
	}
	n, err := meta.WriteTo(c.out, nil)
	if err != nil {
		return nil, err
	}
	return meta, c.write(append(binary.LittleEndian.AppendUint32(nil, uint32(n)), magic...))
}

// libraryContent is row groups that the library encodes.
type libraryContent struct{ *pqarrow.FileWriter }

func (c libraryContent) rowGroup(rec arrow.RecordBatch) error { return c.Write(rec) }

func (c libraryContent) close() (*metadata.FileMetaData, error) {
	if err := c.Close(); err != nil {
		return nil, err
	}
	return c.FileMetadata()
}
