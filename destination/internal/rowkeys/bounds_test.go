package rowkeys

import (
	"testing"

	"github.com/apache/iceberg-go"
)

func TestBoundsPruneOnlyWhatCannotOverlap(t *testing.T) {
	long := func(v int64) []byte { b, _ := iceberg.NewLiteral(v).MarshalBinary(); return b }
	short := func(v int32) []byte { b, _ := iceberg.NewLiteral(v).MarshalBinary(); return b }
	decimal := iceberg.DecimalTypeOf(38, 9)
	for name, tc := range map[string]struct {
		typ  iceberg.Type
		a, b []byte
		want bool
	}{
		"less":                 {iceberg.PrimitiveTypes.Int64, long(-1), long(0), true},
		"equal":                {iceberg.PrimitiveTypes.Int64, long(5), long(5), false},
		"more":                 {iceberg.PrimitiveTypes.Int64, long(1 << 40), long(2), false},
		"narrow against wide":  {iceberg.PrimitiveTypes.Int64, short(-5), long(-4), true},
		"wide against narrow":  {iceberg.PrimitiveTypes.Int64, long(-4), short(-5), false},
		"no bound":             {iceberg.PrimitiveTypes.Int64, nil, long(1), false},
		"strings":              {iceberg.PrimitiveTypes.String, []byte("a"), []byte("aa"), true},
		"equal strings":        {iceberg.PrimitiveTypes.String, []byte("a"), []byte("a"), false},
		"decimals":             {decimal, []byte{0xff}, []byte{0x01, 0x00}, true},
		"decimals, other way":  {decimal, []byte{0x00, 0x80}, []byte{0x7f}, false},
		"negative decimals":    {decimal, []byte{0x80, 0x00}, []byte{0xff}, true},
		"a type with no order": {iceberg.PrimitiveTypes.Bool, []byte{0}, []byte{1}, false},
	} {
		if got := below(tc.typ, tc.a, tc.b); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
