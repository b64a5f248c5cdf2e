package parquetfile

import (
	"math"

	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// The properties of a table that say how its files are encoded.
const (
	codecKey         = table.ParquetCompressionKey
	levelKey         = "write.parquet.compression-level"
	pageBytesKey     = "write.parquet.page-size-bytes"
	rowGroupBytesKey = "write.parquet.row-group-size-bytes"
)

// codecs are those of Iceberg by name.
var codecs = map[string]compress.Compression{
	"zstd":         compress.Codecs.Zstd,
	"snappy":       compress.Codecs.Snappy,
	"gzip":         compress.Codecs.Gzip,
	"brotli":       compress.Codecs.Brotli,
	"lz4":          compress.Codecs.Lz4Raw, // the other LZ4 of Parquet is deprecated
	"uncompressed": compress.Codecs.Uncompressed,
}

func defaultEncoding(level int) *Encoding {
	return &Encoding{codec: compress.Codecs.Zstd, level: level, pageBytes: 1 << 20, rowGroupBytes: math.MaxInt64}
}

// use takes from the properties what they say. What another program may have set to
// something else is ignored.
func (e *Encoding) use(properties iceberg.Properties) {
	if codec, ok := codecs[properties[codecKey]]; ok && codec != e.codec {
		e.codec, e.level = codec, compress.DefaultCompressionLevel
	}
	if level := properties.GetInt(levelKey, math.MinInt); level != math.MinInt {
		e.level = level
		switch e.codec { // beyond their levels, these libraries fail
		case compress.Codecs.Gzip:
			e.level = min(max(level, 1), 9)
		case compress.Codecs.Brotli:
			e.level = min(max(level, 0), 11)
		}
	}
	if n := properties.GetInt64(pageBytesKey, 0); n > 0 {
		e.pageBytes = min(n, longPage)
	}
	if n := properties.GetInt64(rowGroupBytesKey, 0); n > 0 {
		e.rowGroupBytes = n
	}
}
