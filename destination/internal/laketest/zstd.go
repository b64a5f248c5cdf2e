package laketest

import (
	"fmt"
	"sync"

	"github.com/apache/arrow-go/v18/parquet/compress"

	_ "github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile" // the codec
)

// StartZstd makes the encoders of the process outside of any bubble of time: those made inside a bubble cannot be
// used outside of it.
var StartZstd = sync.OnceValue(func() error {
	codec, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		return err
	}
	for _, level := range []int{1, 3} {
		if text := codec.Decode(nil, codec.EncodeLevel(nil, []byte("warm"), level)); string(text) != "warm" {
			return fmt.Errorf("zstd makes %q of itself", text)
		}
	}
	return nil
})
