package catalogs

import (
	"fmt"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

func TestTheTableCacheIsBounded(t *testing.T) {
	meta, err := table.NewMetadata(schema, iceberg.UnpartitionedSpec, table.UnsortedSortOrder, "file:///t", nil)
	if err != nil {
		t.Fatal(err)
	}
	named := func(i int) *table.Table {
		return table.New(table.Identifier{"n", fmt.Sprint(i)}, meta, "", nil, nil)
	}
	var k tableCache
	fitting := maxCachedBytes / metadataBytes(meta)
	for range 2 { // a table that is put again replaces itself
		for i := range fitting {
			k.put(named(i))
		}
	}
	if len(k.all) != fitting {
		t.Errorf("keeps %d tables of %d that fit", len(k.all), fitting)
	}
	for i := range 3 * fitting {
		k.put(named(i))
		if k.get(named(i).Identifier()) == nil {
			t.Fatal("does not know the last table")
		}
	}
	if len(k.all) != fitting || k.bytes != fitting*metadataBytes(meta) {
		t.Errorf("keeps %d tables and counts %d bytes; %d tables fit", len(k.all), k.bytes, fitting)
	}
}
