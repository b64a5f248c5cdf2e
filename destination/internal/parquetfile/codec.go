package parquetfile

import (
	"github.com/apache/arrow-go/v18/parquet/compress"
)

// frugalZstd is the library's zstd with less memory for long pages: the library
// reserves as much memory for the compressed page as for the page. A page is long
// only when a value is.
type frugalZstd struct{ zstdCodec }

type zstdCodec interface {
	compress.ErrorCodec
	compress.StreamingCodec
}

func init() {
	codec, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		panic(err) // it is part of the library
	}
	compress.RegisterCodec(compress.Codecs.Zstd, frugalZstd{codec.(zstdCodec)})
}

const longPage = 8 << 20

// CompressBound returns the bytes to reserve for a page, none for a long one.
func (c frugalZstd) CompressBound(size int64) int64 {
	if size >= longPage {
		return 0
	}
	return c.zstdCodec.CompressBound(size)
}

// EncodeLevel reserves memory for a long page by how well its beginning compresses.
func (c frugalZstd) EncodeLevel(dst, page []byte, level int) []byte {
	if len(page) >= longPage {
		const part = 16
		beginning := c.zstdCodec.EncodeLevel(nil, page[:len(page)/part], level)
		dst = make([]byte, 0, len(beginning)*(part+1))
	}
	return c.zstdCodec.EncodeLevel(dst, page, level)
}
