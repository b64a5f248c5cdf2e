package parquetfile

import (
	"runtime"
	"sync"

	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/klauspost/compress/zstd"
)

// frugalZstd is the library's zstd with less memory. The library's encoders remember
// 4 MiB of what they compressed, in a buffer of twice that, and are made again after
// every other garbage collection. It also reserves as much memory for a compressed page
// as for the page.
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

// window is how far back an encoder finds repetitions. Pages are not longer, unless a
// value is.
const window = 1 << 20

// encoders are those of a level, as many as threads that compress at the same time.
var encoders [zstd.SpeedBestCompression + 1]struct {
	once sync.Once
	*zstd.Encoder
}

func encoder(level int) *zstd.Encoder {
	l := zstd.EncoderLevelFromZstd(level)
	e := &encoders[l]
	e.once.Do(func() {
		var err error
		e.Encoder, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(l), zstd.WithWindowSize(window), zstd.WithZeroFrames(true),
			zstd.WithAllLitEntropyCompression(true), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
		if err != nil {
			panic(err) // an option is invalid
		}
	})
	return e.Encoder
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
	e := encoder(level)
	if len(page) >= longPage {
		const part = 16
		beginning := e.EncodeAll(page[:len(page)/part], nil)
		dst = make([]byte, 0, len(beginning)*(part+1))
	}
	return e.EncodeAll(page, dst[:0])
}
