package columns

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/zeebo/xxh3"
)

// docsKey is the table property that says which docs of columns this program wrote: a
// hash of the doc by the column's field id.
const docsKey = "airbyte.docs"

// docs tells docs that this program wrote from those of others, which it does not change.
type docs struct {
	hashes map[int]string
	all    bool // the table is older than the property, and all docs are this program's
}

func readDocs(props iceberg.Properties, made bool) (docs, error) {
	d := docs{hashes: map[int]string{}}
	recorded, known := props[docsKey]
	if !known {
		d.all = made
		return d, nil
	}
	if err := json.Unmarshal([]byte(recorded), &d.hashes); err != nil {
		return d, &PropertyError{docsKey, err}
	}
	return d, nil
}

// describe gives a column the description of its property, unless it has a doc that
// another program wrote.
func (d docs) describe(f *iceberg.NestedField, want iceberg.NestedField) {
	if d.all && f.Doc != "" {
		d.hashes[f.ID] = hashOf(f.Doc)
	}
	switch {
	case f.Doc == "", f.Type == nil, want.Doc != "" && f.Doc == want.Name:
	case want.Doc == "", f.Doc == want.Doc, strings.HasSuffix(f.Doc, docSeparator+want.Doc), d.hashes[f.ID] != hashOf(f.Doc):
		return
	}
	if f.Doc = docOf(want.Name, f.Name, want.Type, want.Doc); f.Doc != "" {
		d.hashes[f.ID] = hashOf(f.Doc)
	}
}

func hashOf(doc string) string { return fmt.Sprintf("%08x", uint32(xxh3.HashString(doc))) } //nolint:gosec // half of it is enough

func (d docs) encode() (string, error) {
	data, err := json.Marshal(d.hashes)
	return string(data), err
}
