package tabledef

import (
	"strings"
	"testing"
)

func TestPropertiesThatACommitWouldFailOn(t *testing.T) {
	for _, tt := range []struct{ key, value, want string }{
		{"comment", "anything", ""},
		{"write.metadata.compression-codec", "gzip", ""},
		{"write.metadata.compression-codec", "bogus", "it must be none or gzip"},
		{"write.metadata.compression-codec", "zstd", "it must be none or gzip"},
		{"write.target-file-size-bytes", "0", "it must be a number of bytes"},
		{"write.parquet.compression-codec", "lzo", "it must be zstd or snappy"},
		{"write.parquet.compression-level", "-3", ""},
		{"write.parquet.compression-level", "high", "it must be a level"},
		{"write.metadata.metrics.default", "truncate(16)", ""},
		{"write.metadata.metrics.default", "truncate(0)", "truncate(N)"},
		{"gc.enabled", "no", "it must be true or false"},
		{"write.data.path", "/elsewhere", "relies on it"},
		{"airbyte.stream", "x", "relies on it"},
		{"", "x", "must have a name"},
	} {
		err := CheckProperty(tt.key, tt.value)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s=%s: %v", tt.key, tt.value, err)
		}
	}
}
