package changes

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/iblt"
)

// packKey makes 16 bytes of a key, which is JSON text. WHOOP's keys are integers
// and UUIDs; others are an error.
func packKey(key string) (packed iblt.Key, err error) {
	if !strings.HasPrefix(key, `"`) {
		n, err := strconv.ParseUint(key, 10, 63)
		if err != nil || strconv.FormatUint(n, 10) != key {
			return packed, fmt.Errorf("%s is neither a number nor a UUID", key)
		}
		binary.BigEndian.PutUint64(packed[8:], n)
		return packed, nil
	}
	const form = `"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"`
	digits := 0
	for i := range len(key) {
		c := key[i]
		digit := strings.IndexByte("0123456789abcdef", c)
		if len(key) != len(form) || digit < 0 && c != form[i] || digit >= 0 && form[i] != 'x' {
			return packed, fmt.Errorf("%s is neither a number nor a UUID", key)
		}
		if digit >= 0 {
			packed[digits/2] = packed[digits/2]<<4 | byte(digit)
			digits++
		}
	}
	if binary.BigEndian.Uint64(packed[:]) == 0 { // it would come back as a number
		return packed, fmt.Errorf("%s is not the UUID of a record", key)
	}
	return packed, nil
}

// unpackKey is the reverse of packKey.
func unpackKey(p iblt.Key) string {
	if n := binary.BigEndian.Uint64(p[8:]); binary.BigEndian.Uint64(p[:]) == 0 {
		return strconv.FormatUint(n, 10)
	}
	return fmt.Sprintf(`"%x-%x-%x-%x-%x"`, p[:4], p[4:6], p[6:8], p[8:10], p[10:])
}

func (r Record) pair() iblt.Pair { return pairOf(r.Key, r.Fingerprint) }
func (e entry) pair() iblt.Pair  { return pairOf(e.key, e.fingerprint) }

func pairOf(key string, fingerprint uint64) iblt.Pair {
	packed, err := packKey(key)
	if err != nil {
		panic(err) // packKey has accepted every tracked key before
	}
	return iblt.Pair{Key: packed, Value: fingerprint}
}
