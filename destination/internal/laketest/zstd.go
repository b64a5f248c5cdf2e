package laketest

import (
	"fmt"
	"sync"

	"github.com/apache/arrow-go/v18/parquet/compress"
)

// sharedZstd compresses with one encoder for the whole process, which was made outside of any bubble of time.
// The encoders of the library's pool are made when there is need, and one made inside a bubble cannot be used
// outside of it.
type sharedZstd struct{ zstdCodec }

type zstdCodec interface {
	compress.ErrorCodec
	compress.StreamingCodec
}

func (c sharedZstd) EncodeLevel(dst, src []byte, _ int) []byte { return c.Encode(dst, src) }

// ShareZstdEncoder makes parquet files be compressed with the encoder of the process. An encoder is megabytes, which
// the race detector goes through each time one is made or dropped.
var ShareZstdEncoder = sync.OnceValue(func() error {
	plain, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		return err
	}
	if text := plain.Decode(nil, plain.Encode(nil, []byte("warm"))); string(text) != "warm" {
		return fmt.Errorf("zstd makes %q of itself", text)
	}
	compress.RegisterCodec(compress.Codecs.Zstd, sharedZstd{plain.(zstdCodec)})
	return nil
})
