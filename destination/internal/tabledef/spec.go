package tabledef

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// changeSpec changes the partition spec, if the settings have one that divides
// rows differently.
func (d Definition) changeSpec(loaded *table.Table) ([]table.Requirement, []table.Update, error) {
	if d.PartitionBy == nil {
		return nil, nil, nil
	}
	meta := loaded.Metadata()
	var wanted []string
	for _, by := range d.PartitionBy {
		f, err := d.column(meta.CurrentSchema(), by.Column)
		if err != nil {
			return nil, nil, err
		}
		wanted = append(wanted, fieldKey(f.ID, by.Transform))
	}
	slices.Sort(wanted)
	current := meta.PartitionSpec()
	if slices.Equal(wanted, fieldKeys(current)) {
		return nil, nil, nil
	}
	if meta.Version() < 2 {
		return nil, nil, d.configError(nil, `Table %s has format version 1, in which this program does not change how a table is partitioned. Upgrade it to version 2 with the program that created it, or remove the stream's "partition_by" to keep the table as it is.`, d)
	}
	for _, spec := range meta.PartitionSpecs() {
		if slices.Equal(wanted, fieldKeys(spec)) {
			return []table.Requirement{table.AssertDefaultSpecID(meta.DefaultPartitionSpec())},
				[]table.Update{table.NewSetDefaultSpecUpdate(spec.ID())}, nil
		}
	}
	update := table.NewUpdateSpec(loaded.NewTransaction(), true)
	for field := range PartitionFields(current) {
		if !slices.Contains(wanted, fieldKey(field.SourceID(), field.Transform)) {
			update.RemoveField(field.Name)
		}
	}
	have := fieldKeys(current)
	for _, by := range d.PartitionBy {
		f, err := d.column(meta.CurrentSchema(), by.Column)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(have, fieldKey(f.ID, by.Transform)) {
			update.AddField(f.Name, by.Transform, partitionName(meta.CurrentSchema(), meta.PartitionSpecs(), f, by.Transform))
		}
	}
	updates, reqs, err := update.BuildUpdates()
	if err != nil {
		return nil, nil, d.configError(err, "Table %s cannot be partitioned by %s: %v. Change the stream's \"partition_by\", or remove it to keep the table as it is.",
			d, clauses(d.PartitionBy), err)
	}
	return reqs, updates, nil
}

// PartitionFields yields the fields of a spec that divide rows. Format version 1
// keeps removed fields, as void.
func PartitionFields(spec iceberg.PartitionSpec) iter.Seq[iceberg.PartitionField] {
	return func(yield func(iceberg.PartitionField) bool) {
		for _, f := range spec.Fields() {
			if _, void := f.Transform.(iceberg.VoidTransform); !void && !yield(f) {
				return
			}
		}
	}
}

// fieldKeys is the same for specs that divide rows in the same way, whatever the
// order of their fields.
func fieldKeys(spec iceberg.PartitionSpec) []string {
	var keys []string
	for f := range PartitionFields(spec) {
		keys = append(keys, fieldKey(f.SourceID(), f.Transform))
	}
	slices.Sort(keys)
	return keys
}

func fieldKey(source int, t iceberg.Transform) string { return fmt.Sprintf("%d %s", source, t) }

// partitionFieldNames are the names of the fields of all specs that a table has
// had, void ones too.
func partitionFieldNames(specs []iceberg.PartitionSpec) (names []string) {
	for _, spec := range specs {
		for _, f := range spec.Fields() {
			names = append(names, f.Name)
		}
	}
	return names
}

// partitionName is the name of a field of the spec: the one that Iceberg's own
// library generates, as Avro takes it, unless a column has it, or another field
// of a spec that the table has had: Spark shows the fields of all specs as
// columns of one row.
func partitionName(schema *iceberg.Schema, specs []iceberg.PartitionSpec, column iceberg.NestedField, t iceberg.Transform) string {
	name, err := iceberg.GeneratePartitionFieldName(schema, iceberg.PartitionField{SourceIDs: []int{column.ID}, Transform: t})
	if err != nil {
		return "" // the column is in the schema
	}
	name = avroName(name)
	for nameTaken(schema, specs, name, column, t) {
		name += "_partition"
	}
	return name
}

// nameTaken reports whether a column, or another field of the specs, has a name. A
// void field of the same column makes way for the one that replaces it.
func nameTaken(schema *iceberg.Schema, specs []iceberg.PartitionSpec, name string, column iceberg.NestedField, t iceberg.Transform) bool {
	if other, there := schema.FindFieldByName(name); there && other.ID != column.ID {
		return true
	}
	return slices.ContainsFunc(specs, func(spec iceberg.PartitionSpec) bool {
		for _, f := range spec.Fields() {
			_, void := f.Transform.(iceberg.VoidTransform)
			if f.Name == name && (f.SourceID() != column.ID || !void && !f.Transform.Equals(t)) {
				return true
			}
		}
		return false
	})
}

// avroName makes a name one that Avro takes, as Iceberg's Java library does. That
// leaves letters beyond ASCII as they are, which few other libraries read.
func avroName(name string) string {
	var legal strings.Builder
	for i, r := range name {
		digit := '0' <= r && r <= '9'
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', r == '_', digit && i > 0:
			legal.WriteRune(r)
		case digit:
			legal.WriteString("_" + string(r))
		default:
			fmt.Fprintf(&legal, "_x%X", r)
		}
	}
	return legal.String()
}

// ForManifests is a spec with the names that its fields have in manifests, which
// are Avro files. Who reads them finds the fields by their ids.
func ForManifests(spec iceberg.PartitionSpec) iceberg.PartitionSpec {
	var fields []iceberg.PartitionField
	for _, f := range spec.Fields() {
		f.Name = avroName(f.Name)
		fields = append(fields, f)
	}
	return iceberg.NewPartitionSpecID(spec.ID(), fields...)
}

// newSpec is the partition spec of a new table.
func (d Definition) newSpec() (iceberg.PartitionSpec, error) {
	var fields []iceberg.PartitionOption
	for i, by := range d.PartitionBy {
		f, err := d.column(d.Columns.Schema, by.Column)
		if err != nil {
			return iceberg.PartitionSpec{}, err
		}
		id := iceberg.PartitionDataIDStart + i // without one it is 0, which REST catalogs refuse
		fields = append(fields, iceberg.AddPartitionFieldBySourceID(f.ID, partitionName(d.Columns.Schema, nil, f, by.Transform), by.Transform, d.Columns.Schema, &id))
	}
	return iceberg.NewPartitionSpecOpts(fields...)
}

// checkFieldNames refuses a table whose manifests this program may be unable to read:
// other programs write letters beyond ASCII there as they are, and the library takes
// no Avro file with them.
func (d Definition) checkFieldNames(specs []iceberg.PartitionSpec) error {
	for _, name := range partitionFieldNames(specs) {
		if strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) }) {
			return d.configError(nil, "Table %s has, or had, the partition field %q. Manifests in which another program has written such a name cannot be read by this version, because it has letters beyond a to z. Write the stream to another namespace.", d, name)
		}
	}
	return nil
}

// CheckSpec refuses a table whose partitions this program cannot compute.
func (d Definition) CheckSpec(spec iceberg.PartitionSpec, schema *iceberg.Schema) error {
	for f := range PartitionFields(spec) {
		if _, unknown := f.Transform.(iceberg.UnknownTransform); unknown || len(f.SourceIDs) != 1 {
			return d.configError(nil, "Table %s is partitioned by %s, which this version cannot compute. Change its partition spec, or write the stream to another namespace.", d, f.Transform)
		}
		if _, there := schema.FindFieldByID(f.SourceID()); !there {
			return d.configError(nil, "Table %s is partitioned by a column that it no longer has, as %s. Change its partition spec, or write the stream to another namespace.", d, f.Name)
		}
	}
	return nil
}

// SpecOf is the partition spec that a file was written with, which need not be
// the table's current one.
func SpecOf(meta table.Metadata, f iceberg.DataFile) (iceberg.PartitionSpec, error) {
	spec := meta.PartitionSpecByID(int(f.SpecID()))
	if spec == nil {
		return iceberg.PartitionSpec{}, fmt.Errorf("%s has the unknown partition spec %d", f.FilePath(), f.SpecID())
	}
	return *spec, nil
}

// clauses shows fields as the configuration has them.
func clauses[T fmt.Stringer](fields []T) string {
	var all []string
	for _, f := range fields {
		all = append(all, f.String())
	}
	return strings.Join(all, ", ")
}
