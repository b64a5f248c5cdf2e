package rowkeys

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"
)

var (
	text = arrow.BinaryTypes.String
	long = arrow.PrimitiveTypes.Int64
)

func column(name string, t arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: t, Nullable: true}
}

// recordOf makes rows from JSON objects.
func recordOf(t *testing.T, columns []arrow.Field, rows ...map[string]any) arrow.RecordBatch {
	t.Helper()
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema(columns, nil), strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestKeysOfDifferentValuesHaveDifferentHashes(t *testing.T) {
	rec := recordOf(t, []arrow.Field{column("a", text), column("b", text), column("n", long)},
		map[string]any{"a": "x", "b": "y"}, map[string]any{"a": "xy", "b": ""}, map[string]any{"a": "", "b": "xy"},
		map[string]any{"a": nil, "b": "xy"}, map[string]any{"a": "xy", "b": nil}, map[string]any{"a": nil, "b": nil},
		map[string]any{"a": "\x00", "b": "\x00"}, map[string]any{"a": "\x00\x00", "b": ""},
		map[string]any{"a": "x", "b": "y", "n": 0}, map[string]any{"a": "x", "b": "y", "n": 1}, map[string]any{"a": "x", "b": "y", "n": 256},
	)
	k := &Columns{keys: []int{0, 1, 2}, cursor: -1, deleted: -1}
	b, err := k.block(rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range b.hashes {
		for j, y := range b.hashes[:i] {
			if x == y {
				t.Errorf("rows %d and %d have one hash", i, j)
			}
		}
	}
	// A key is the same whatever the width it was written with.
	narrow := recordOf(t, []arrow.Field{column("k", arrow.PrimitiveTypes.Int32)}, map[string]any{"k": -7})
	wide := recordOf(t, []arrow.Field{column("k", long)}, map[string]any{"k": -7})
	one := &Columns{keys: []int{0}, cursor: -1, deleted: -1}
	x, err := one.block(narrow, nil)
	if err != nil {
		t.Fatal(err)
	}
	y, err := one.block(wide, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x.hashes, y.hashes); diff != "" {
		t.Error(diff)
	}
	if _, err := one.block(recordOf(t, []arrow.Field{column("k", arrow.BinaryTypes.Binary)}, map[string]any{"k": "eA=="}), nil); err == nil || !strings.Contains(err.Error(), "cannot be of type "+arrow.BinaryTypes.Binary.String()) {
		t.Errorf("error %v", err)
	}
}

// Nobody can prepare two keys of one hash, since each process has other hashes. This one asks another for its seed.
func TestEachProcessHasASeedOfItsOwn(t *testing.T) {
	const child = "ROWKEYS_TELL_SEED"
	seed := fmt.Sprintln("the seed is", keySeed)
	if os.Getenv(child) != "" {
		fmt.Print(seed)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEachProcessHasASeedOfItsOwn$")
	cmd.Env = append(os.Environ(), child+"=1")
	told, err := cmd.Output()
	if err != nil || !strings.HasPrefix(string(told), "the seed is ") || strings.HasPrefix(string(told), seed) {
		t.Errorf("here %s, there %s, %v", seed, told, err)
	}
}

func TestHashesOfKeysDependOnTheSeed(t *testing.T) {
	rec := recordOf(t, []arrow.Field{column("k", text)}, map[string]any{"k": "x"}, map[string]any{"k": strings.Repeat("long ", 100)})
	k := &Columns{keys: []int{0}, cursor: -1, deleted: -1}
	seen := map[xxh3.Uint128]bool{}
	defer func(seed uint64) { keySeed = seed }(keySeed)
	for range 2 {
		for range 2 { // the same as long as the seed is
			b, err := k.block(rec, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, hash := range b.hashes {
				seen[hash] = true
			}
		}
		keySeed++
	}
	if len(seen) != 4 {
		t.Errorf("two keys have %d hashes with two seeds", len(seen))
	}
}

// A key has one hash, whether it is staged in an array or lies in a page of a file.
func TestKeysInPagesHashAsThoseInArrays(t *testing.T) {
	rows := array.NewStringBuilder(memory.DefaultAllocator)
	defer rows.Release()
	var values []parquet.ByteArray
	for _, v := range []string{"", "a", "ab", "\x00", strings.Repeat("long ", 100)} {
		rows.Append(v)
		values = append(values, parquet.ByteArray(v))
	}
	rows.AppendNull()
	values = append(values, nil)
	keys := rows.NewArray()
	defer keys.Release()
	want := make([]xxh3.Uint128, keys.Len())
	if err := hashKeys([]arrow.Array{keys}, want); err != nil {
		t.Fatal(err)
	}
	if got := hashTexts(values, nil); !slices.Equal(got, want) {
		t.Errorf("hashes %v, want %v", got, want)
	}
	for i, hash := range want {
		if at := slices.Index(want, hash); at < i {
			t.Errorf("values %d and %d have one hash", at, i)
		}
	}
}
