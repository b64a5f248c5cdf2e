package snapshots

import (
	"bytes"
	"compress/gzip"
	"io"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// ReadMetadata reads the text of a metadata file, which may be compressed with
// gzip. Text that is compressed with zstd is returned as it is: see [IsZstd].
func ReadMetadata(files iceio.IO, location string) ([]byte, error) {
	text, err := storage.ReadFile(files, location)
	if err != nil || !bytes.HasPrefix(text, []byte{0x1f, 0x8b}) {
		return text, err
	}
	r, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// IsZstd reports whether text is compressed with zstd.
func IsZstd(text []byte) bool { return bytes.HasPrefix(text, []byte{0x28, 0xb5, 0x2f, 0xfd}) }

// MetadataSuperseded returns when the i-th metadata file that meta lists was
// superseded by the next.
func MetadataSuperseded(entries []table.MetadataLogEntry, i int, meta table.Metadata) time.Time {
	if i+1 < len(entries) {
		return time.UnixMilli(entries[i+1].TimestampMs)
	}
	return time.UnixMilli(meta.LastUpdatedMillis())
}
