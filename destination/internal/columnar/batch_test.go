package columnar

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/google/go-cmp/cmp"
)

func TestRowIDsAreSortedAndUnique(t *testing.T) {
	version7 := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	b, other := workloads[0].batch(t), workloads[0].batch(t)
	lines := workloads[0].lines(1 << 18)
	var d Decoder
	for range 3 {
		for _, b := range []*Batch{b, other} {
			var ids []string
			for range 2 { // a record may be taken more than once
				if err := d.Decode(lines, 1, 0, to(b)); err != nil {
					t.Fatal(err)
				}
				rec := validRecord(t, b)
				c := rec.Column(int(rec.NumCols()) - airbyteColumns + rawIDColumn).(*array.String)
				for i := len(ids); i < c.Len(); i++ {
					ids = append(ids, strings.Clone(c.Value(i)))
				}
				if c.Value(0) != ids[0] {
					t.Fatal("the id of a row changes")
				}
			}
			if !slices.IsSorted(ids) {
				t.Error("ids are not in the order of the rows")
			}
			for _, id := range ids {
				if seen[id] || !version7.MatchString(id) {
					t.Fatalf("%s is there twice or no UUID of version 7", id)
				}
				seen[id] = true
			}
			b.Reset()
		}
	}
}

func TestRowsTellTheirSync(t *testing.T) {
	layout := newTestBatch(t, stream(`{}`), Options{}).layout
	sync, generation := int64(7), int64(8)
	for _, tt := range []struct {
		meta RowMeta
		want string
	}{
		{RowMeta{}, `{"changes":[],"sync_id":null} (null)`},
		{RowMeta{&sync, &generation}, `{"changes":[],"sync_id":7} 8`},
	} {
		b := NewBatch(layout, tt.meta)
		var d Decoder
		if err := d.Decode([]byte(recordLine(`{}`)+recordLine(`{}`)), 1, 0, to(b)); err != nil {
			t.Fatal(err)
		}
		rec := validRecord(t, b)
		for row := range 2 {
			if got := rec.Column(metaColumn).ValueStr(row) + " " + rec.Column(generationColumn).ValueStr(row); got != tt.want {
				t.Errorf("row %d: got %s, want %s", row, got, tt.want)
			}
		}
	}
}

func TestABatchServesAgainAfterReset(t *testing.T) {
	fresh, used := newTestBatch(t, stream(fuzzSchema), Options{}), newTestBatch(t, stream(fuzzSchema), Options{})
	full := recordLine(`{"s":"x","b":true,"i":1,"n":1.5,"d":"2024-02-29","t":"2024-02-29T12:00:00Z","u":[1],"o":{"s":"y","b":true},"l":[1,2],"lo":[{"b":true,"s":"z"},null]}`)
	sparse := recordLine(`{}`) + recordLine(`{"b":false,"l":[],"lo":[{}],"i":"x"}`) + recordLine(`{"o":{"b":null}}`)
	var d Decoder
	for _, run := range []struct {
		b     *Batch
		lines string
	}{{used, strings.Repeat(full+sparse, 20)}, {fresh, sparse}} {
		run.b.Reset()
		if err := d.Decode([]byte(run.lines), 1, 0, to(run.b)); err != nil {
			t.Fatal(err)
		}
		validRecord(t, run.b)
	}
	used.Reset()
	if used.Rows() != 0 || used.Bytes() != 0 {
		t.Errorf("holds %d rows of %d bytes after Reset", used.Rows(), used.Bytes())
	}
	if err := d.Decode([]byte(sparse), 1, 0, to(used)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rowsOf(t, fresh), rowsOf(t, used)); diff != "" {
		t.Error(diff)
	}
	if got := changesOf(t, used, 1); got != changesOf(t, fresh, 1) || got == "" {
		t.Errorf("reports %q", got)
	}
}

func TestABatchKnowsItsSize(t *testing.T) {
	for _, w := range workloads {
		b := w.batch(t)
		var d Decoder
		if err := d.Decode(w.lines(1<<20), 1, 0, to(b)); err != nil {
			t.Fatal(err)
		}
		size := 0
		var sum func(arrow.ArrayData)
		sum = func(data arrow.ArrayData) {
			for _, buffer := range data.Buffers() {
				if buffer != nil {
					size += buffer.Len()
				}
			}
			for _, child := range data.Children() {
				sum(child)
			}
		}
		before := b.Bytes()
		for _, c := range b.Record().Columns() {
			sum(c.Data())
		}
		for _, got := range []int{before, b.Bytes()} {
			if ratio := float64(got) / float64(size); ratio < 0.85 || ratio > 1.1 {
				t.Errorf("%s: reports %d bytes, holds %d", w.name, got, size)
			}
		}
	}
}

func TestColumnsThatNoRowMentionsCostNothing(t *testing.T) {
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, `,"c%d":%s`, i, []string{integerType, stringType, objectType, listType, numberType}[i%5])
	}
	b := newTestBatch(t, stream(properties(`"v":`+integerType+many.String())), Options{})
	var d Decoder
	if err := d.Decode([]byte(strings.Repeat(recordLine(`{"v":1}`), 1000)), 1, 0, to(b)); err != nil {
		t.Fatal(err)
	}
	if n := b.Bytes(); n > 100_000 {
		t.Errorf("1000 rows of one value take %d bytes", n)
	}
	if rec := validRecord(t, b); rec.Column(1).NullN() != 1000 || len(b.zeros) > 100_000 {
		t.Errorf("%d nulls, %d bytes shared", rec.Column(1).NullN(), len(b.zeros))
	}
}

func TestAHugeRecordIsNotPaidForForever(t *testing.T) {
	b := newTestBatch(t, stream(properties(`"v":`+stringType)), Options{})
	var d Decoder
	held := func() int { return cap(b.data.fields[0].data) + cap(d.scratch) + cap(d.ended) }
	for _, size := range []int{10 << 20, 10, 10} {
		if err := d.Decode([]byte(strings.TrimSuffix(recordLine(`{"v":"`+strings.Repeat("x", size)+`"}`), "\n")), 1, 0, to(b)); err != nil {
			t.Fatal(err)
		}
		b.Reset()
	}
	if held() > 1<<20 {
		t.Errorf("still holds %d bytes", held())
	}
}

func TestCapacityIsOfAllBuffers(t *testing.T) {
	for _, w := range workloads {
		b := w.batch(t)
		var d Decoder
		if err := d.Decode(w.lines(1<<18), 1, 0, to(b)); err != nil {
			t.Fatal(err)
		}
		b.Record() // fills what rows have not mentioned
		held := b.Bytes()
		if full := b.Capacity(); full < held || full > 3*held {
			t.Errorf("%s: %d bytes are held in %d", w.name, held, full)
		}
		b.Reset()
		if b.Bytes() != 0 || b.Capacity() < held {
			t.Errorf("%s: after Reset %d bytes are held in %d", w.name, b.Bytes(), b.Capacity())
		}
	}
}

func TestZerosServeAgainAfterReset(t *testing.T) {
	b := newTestBatch(t, stream(properties(`"v":`+integerType+`,"w":`+stringType)), Options{})
	var d Decoder
	rows := func(n int) (zeros *byte) {
		b.Reset()
		if err := d.Decode([]byte(strings.Repeat(recordLine(`{"v":1}`), n)), 1, 0, to(b)); err != nil {
			t.Fatal(err)
		}
		if rec := validRecord(t, b); rec.Column(1).NullN() != n {
			t.Errorf("%d nulls of %d", rec.Column(1).NullN(), n)
		}
		return unsafe.SliceData(b.zeros)
	}
	first := rows(1000)
	for _, n := range []int{1000, 10, 1100} {
		if rows(n) != first {
			t.Errorf("%d rows got other zeros", n)
		}
	}
	if n := testing.AllocsPerRun(10, func() { b.Reset(); b.zero(1000) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	rows(1 << 17)
	for range 2 { // the first time they have just been needed
		rows(10)
	}
	if n := cap(b.zeros); n > 1<<16 {
		t.Errorf("10 rows keep %d zeros", n)
	}
}
