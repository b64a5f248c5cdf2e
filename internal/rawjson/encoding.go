package rawjson

import "bytes"

// ByteOrderMark is what some editors write in front of UTF-8.
const ByteOrderMark = "\xef\xbb\xbf"

// Encoding names the encoding of text that is not JSON, from its beginning. It is ""
// for UTF-8.
func Encoding(text []byte) string {
	switch {
	case bytes.HasPrefix(text, []byte{0x1f, 0x8b}):
		return "compressed with gzip"
	case bytes.HasPrefix(text, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "compressed with zstd"
	case bytes.HasPrefix(text, []byte{0xff, 0xfe}), bytes.HasPrefix(text, []byte("{\x00")):
		return "encoded in UTF-16 (little-endian)"
	case bytes.HasPrefix(text, []byte{0xfe, 0xff}), bytes.HasPrefix(text, []byte("\x00{")):
		return "encoded in UTF-16 (big-endian)"
	case bytes.IndexByte(text, 0) >= 0:
		return "binary, or encoded in UTF-16 or UTF-32"
	}
	return ""
}
