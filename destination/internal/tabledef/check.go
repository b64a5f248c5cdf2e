package tabledef

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Check finds the settings that the table of a plan cannot have. Its error is a
// Config error.
func (s Settings) Check(p *columnar.Plan) error {
	refuse := func(format string, args ...any) error {
		return &protocol.Error{Kind: protocol.ConfigError, Stream: &p.Stream, Message: fmt.Sprintf("The configuration of stream "+p.Stream.String()+" "+format, args...)}
	}
	column := func(key, field, name string) (iceberg.NestedField, error) {
		f, ok := p.Column(name)
		if !ok {
			return f, refuse("has %q in %q, and the stream has no property %q. It has %s.", field, key, name, propertyNames(p))
		}
		if _, simple := f.Type.(iceberg.PrimitiveType); !simple {
			return f, refuse("has %q in %q, and %q is an object or an array. Choose a property with simple values.", field, key, name)
		}
		return f, nil
	}
	for _, by := range s.PartitionBy {
		f, err := column("partition_by", by.String(), by.Column)
		if err != nil {
			return err
		}
		_, identity := by.Transform.(iceberg.IdentityTransform)
		switch f.Type.(type) {
		case iceberg.Float32Type, iceberg.Float64Type:
			if identity {
				return refuse(`has %q in "partition_by", and %q is a %s, whose values are almost never equal. Choose another property.`, by, by.Column, f.Type)
			}
		}
		if !by.Transform.CanTransform(f.Type) {
			return refuse(`has %q in "partition_by", and %q is of type %s. %s.`, by, by.Column, f.Type, sourceTypes(by.Transform))
		}
	}
	sameColumn := func(a, b string) bool {
		f, _ := p.Column(a)
		g, _ := p.Column(b)
		return f.ID == g.ID
	}
	if other, by, found := Redundant(s.PartitionBy, sameColumn); found {
		return refuse(`has %q and %q in "partition_by", and one makes the other needless. Remove one.`, other, by)
	}
	var ids []int
	for _, by := range s.SortBy {
		f, err := column("sort_by", by.String(), by.Column)
		if err != nil {
			return err
		}
		if slices.Contains(ids, f.ID) {
			return refuse(`has %q twice in "sort_by". Remove one.`, by.Column)
		}
		ids = append(ids, f.ID)
	}
	return nil
}

// sourceTypes says which columns a transform takes.
func sourceTypes(t iceberg.Transform) string {
	switch t.(type) {
	case iceberg.BucketTransform:
		return "bucket takes strings, integers, decimals, dates and timestamps"
	case iceberg.TruncateTransform:
		return "truncate takes strings, integers and decimals"
	case iceberg.HourTransform:
		return "hour takes timestamps"
	}
	return t.String() + " takes dates and timestamps"
}

// propertyNames lists the names a user can choose from.
func propertyNames(p *columnar.Plan) string {
	const maxNames = 30
	var names []string
	for _, f := range slices.Concat(p.Wanted.Properties, p.Wanted.Airbyte) {
		names = append(names, fmt.Sprintf("%q", f.Name))
	}
	if len(names) > maxNames {
		names = append(names[:maxNames], fmt.Sprintf("%d more", len(names)-maxNames))
	}
	return strings.Join(names, ", ")
}
