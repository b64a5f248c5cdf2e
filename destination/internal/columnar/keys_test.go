package columnar

import (
	"math"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scalar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A key in a column of doubles is one that a double tells from all others.
func TestAKeyOfDoublesIsNotRounded(t *testing.T) {
	for text, want := range map[string]bool{
		`0`: true, `-0`: true, `1`: true, `0.1`: true, `1e-1`: true, `0.10`: true, `-2.5E+3`: true, `"7"`: true,
		`9007199254740992`: true, `9007199254740993`: false, `0.30000000000000004`: true, `0.3000000000000000444`: false,
		`1.5e3`: true, `12.5`: true, `1250e-2`: true, `12.6`: true, `0.123456789012345678`: false,
		`1e400`: false, `5e-324`: true, `4e-324`: false, `123456789012345680000`: true, `123456789012345678901`: false,
	} {
		s := stream(properties(`"id":` + numberType))
		s.DestinationSyncMode, s.PrimaryKey = protocol.AppendDedup, [][]string{{"id"}}
		plan, err := NewPlan(s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		fields := plan.Schema.Fields()
		fields[0].Type, fields[0].Required = iceberg.PrimitiveTypes.Float64, false
		layout, err := plan.Bind(iceberg.NewSchema(0, fields...), ownIDs(plan))
		if err != nil {
			t.Fatal(err)
		}
		b := NewBatch(layout, RowMeta{})
		var d Decoder
		err = d.Decode([]byte(recordLine(`{"id":`+text+`}`)), 1, 0, to(b))
		if (err == nil) != want {
			t.Errorf("%s: error %v", text, err)
		}
		if err == nil && math.Signbit(validRecord(t, b).Column(0).(*array.Float64).Value(0)) != (text[0] == '-' && text != "-0") {
			t.Errorf("%s: a wrong sign", text)
		}
	}
}

// A cursor in a column of doubles is rounded, and may be equal to another then: its row says so.
func TestACursorOfDoublesThatIsRoundedIsTold(t *testing.T) {
	s := stream(properties(`"id":` + integerType + `,"c":` + numberType))
	s.DestinationSyncMode, s.PrimaryKey, s.CursorField = protocol.AppendDedup, [][]string{{"id"}}, []string{"c"}
	plan, err := NewPlan(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	fields := plan.Schema.Fields()
	for i := range fields {
		if fields[i].Name == "c" {
			fields[i].Type = iceberg.PrimitiveTypes.Float64
		}
	}
	layout, err := plan.Bind(iceberg.NewSchema(0, fields...), ownIDs(plan))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`9007199254740992`: "", `9007199254740993`: "c:TRUNCATED:DESTINATION_FIELD_SIZE_LIMITATION", `1767225600.123`: "", `"0.1"`: "",
		`0.123456789012345678`: "c:TRUNCATED:DESTINATION_FIELD_SIZE_LIMITATION",
	} {
		b := NewBatch(layout, RowMeta{})
		var d Decoder
		if err := d.Decode([]byte(recordLine(`{"id":1,"c":`+text+`}`)), 1, 0, to(b)); err != nil {
			t.Fatal(err)
		}
		if got := changesOf(t, b, 0); got != want {
			t.Errorf("%s: reports %q, want %q", text, got, want)
		}
	}
}

func TestTellingKeysOfDoublesApartAllocatesNothing(t *testing.T) {
	text := []byte("1234.5678901")
	if n := testing.AllocsPerRun(100, func() {
		if !scalar.RoundTrips(1234.5678901, text) {
			t.Error("it does not")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
