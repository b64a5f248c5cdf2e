package lake

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Check finds what a plan's table could not be given of the options. Its error
// is a Config error.
func (o Options) Check(p *columnar.Plan) error {
	refuse := func(format string, args ...any) error {
		return &protocol.Error{Kind: protocol.ConfigError, Stream: &p.Stream, Message: fmt.Sprintf("The configuration of stream "+p.Stream.String()+" "+format, args...)}
	}
	column := func(key, field, name string) (iceberg.NestedField, error) {
		f, ok := p.Column(name)
		if !ok {
			return f, refuse("has %q in %q, and the stream has no property %q. It has %s.", field, key, name, properties(p))
		}
		if _, simple := f.Type.(iceberg.PrimitiveType); !simple {
			return f, refuse("has %q in %q, and %q is an object or an array. Choose a property with simple values.", field, key, name)
		}
		return f, nil
	}
	for _, by := range o.PartitionBy {
		f, err := column("partition_by", by.String(), by.Column)
		if err != nil {
			return err
		}
		_, identity := by.Transform.(iceberg.IdentityTransform)
		switch f.Type.(type) {
		case iceberg.Float32Type, iceberg.Float64Type:
			if identity {
				return refuse(`has %q in "partition_by", and %q is a %s, whose values are hardly ever the same. Choose another property.`, by, by.Column, f.Type)
			}
		}
		if !by.Transform.CanTransform(f.Type) {
			return refuse(`has %q in "partition_by", and %q is of type %s. %s.`, by, by.Column, f.Type, sourcesOf(by.Transform))
		}
	}
	one := func(a, b string) bool {
		f, _ := p.Column(a)
		g, _ := p.Column(b)
		return f.ID == g.ID
	}
	if other, by, found := Repeated(o.PartitionBy, one); found {
		return refuse(`has %q and %q in "partition_by", one of which says nothing that the other does not. Leave one away.`, other, by)
	}
	var ids []int
	for _, by := range o.SortBy {
		f, err := column("sort_by", by.String(), by.Column)
		if err != nil {
			return err
		}
		if slices.Contains(ids, f.ID) {
			return refuse(`has %q twice in "sort_by". Leave one away.`, by.Column)
		}
		ids = append(ids, f.ID)
	}
	return nil
}

func sourcesOf(t iceberg.Transform) string {
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

// properties are the names a user can choose from.
func properties(p *columnar.Plan) string {
	const most = 30
	var names []string
	for _, f := range slices.Concat(p.Wanted.Properties, p.Wanted.Airbyte) {
		names = append(names, fmt.Sprintf("%q", f.Name))
	}
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}

// arrange brings a table's partition spec, sort order and properties to what
// the options say. Files that are there stay as they are: each says by which
// spec it was written, and a field that comes again has the id it had.
func (t *Table) arrange(loaded *table.Table) ([]table.Requirement, []table.Update, error) {
	reqs, updates, err := t.repartition(loaded)
	if err != nil {
		return nil, nil, err
	}
	meta := loaded.Metadata()
	order, err := t.reorder(meta)
	if err != nil {
		return nil, nil, err
	}
	if len(order) > 0 {
		reqs = append(reqs, table.AssertDefaultSortOrderID(meta.DefaultSortOrder()))
		updates = append(updates, order...)
	}
	props := iceberg.Properties{}
	for key, value := range t.opts.Properties {
		if now, ok := meta.Properties()[key]; !ok || now != value {
			props[key] = value
		}
	}
	if len(props) > 0 {
		updates = append(updates, table.NewSetPropertiesUpdate(props))
	}
	return reqs, updates, nil
}

// repartition changes the spec, when the options have one and it is another.
func (t *Table) repartition(loaded *table.Table) ([]table.Requirement, []table.Update, error) {
	if t.opts.PartitionBy == nil {
		return nil, nil, nil
	}
	meta := loaded.Metadata()
	var wanted []string
	for _, by := range t.opts.PartitionBy {
		f, err := t.column(meta.CurrentSchema(), by.Column)
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
		return nil, nil, t.configError(nil, `Table %s has format version 1, in which this program does not change how a table is partitioned. Upgrade it to version 2 with the program that made it, or leave the stream's "partition_by" away to keep the table as it is.`, t)
	}
	for _, spec := range meta.PartitionSpecs() {
		if slices.Equal(wanted, fieldKeys(spec)) {
			return []table.Requirement{table.AssertDefaultSpecID(meta.DefaultPartitionSpec())},
				[]table.Update{table.NewSetDefaultSpecUpdate(spec.ID())}, nil
		}
	}
	update := table.NewUpdateSpec(loaded.NewTransaction(), true)
	for field := range effective(current) {
		if !slices.Contains(wanted, fieldKey(field.SourceID(), field.Transform)) {
			update.RemoveField(field.Name)
		}
	}
	have := fieldKeys(current)
	for _, by := range t.opts.PartitionBy {
		f, err := t.column(meta.CurrentSchema(), by.Column)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(have, fieldKey(f.ID, by.Transform)) {
			update.AddField(f.Name, by.Transform, partitionName(meta.CurrentSchema(), f, by.Transform))
		}
	}
	updates, reqs, err := update.BuildUpdates()
	if err != nil {
		return nil, nil, t.configError(err, "Table %s cannot be partitioned by %s: %v. Change the stream's \"partition_by\", or leave it away to keep the table as it is.",
			t, clauses(t.opts.PartitionBy), err)
	}
	return reqs, updates, nil
}

// effective are the fields of a spec that divide rows. Format version 1 keeps
// those that were removed, as void.
func effective(spec iceberg.PartitionSpec) func(func(iceberg.PartitionField) bool) {
	return func(yield func(iceberg.PartitionField) bool) {
		for _, f := range spec.Fields() {
			if _, void := f.Transform.(iceberg.VoidTransform); !void && !yield(f) {
				return
			}
		}
	}
}

// fieldKeys tells specs apart that divide rows differently: the order of
// fields has no part in that.
func fieldKeys(spec iceberg.PartitionSpec) []string {
	var keys []string
	for f := range effective(spec) {
		keys = append(keys, fieldKey(f.SourceID(), f.Transform))
	}
	slices.Sort(keys)
	return keys
}

func fieldKey(source int, t iceberg.Transform) string { return fmt.Sprintf("%d %s", source, t) }

// partitionName is the name of a field of the spec, as Iceberg's own library
// makes it unless a column is called so.
func partitionName(schema *iceberg.Schema, column iceberg.NestedField, t iceberg.Transform) string {
	name, err := iceberg.GeneratePartitionFieldName(schema, iceberg.PartitionField{SourceIDs: []int{column.ID}, Transform: t})
	if err != nil {
		return "" // the column is in the schema
	}
	for {
		other, taken := schema.FindFieldByName(name)
		if !taken || other.ID == column.ID {
			return name
		}
		name += "_partition"
	}
}

// newSpec is the spec of a table that is yet to be made.
func (t *Table) newSpec() (iceberg.PartitionSpec, error) {
	var fields []iceberg.PartitionOption
	for _, by := range t.opts.PartitionBy {
		f, err := t.column(t.columns.Schema, by.Column)
		if err != nil {
			return iceberg.PartitionSpec{}, err
		}
		fields = append(fields, iceberg.AddPartitionFieldBySourceID(f.ID, partitionName(t.columns.Schema, f, by.Transform), by.Transform, t.columns.Schema, nil))
	}
	return iceberg.NewPartitionSpecOpts(fields...)
}

// reorder changes the sort order, when the options have one and it is another.
func (t *Table) reorder(meta table.Metadata) ([]table.Update, error) {
	if t.opts.SortBy == nil {
		return nil, nil
	}
	wanted, err := t.sortFields(meta.CurrentSchema())
	if err != nil {
		return nil, err
	}
	same := func(order table.SortOrder) bool {
		var fields []table.SortField
		for _, f := range order.Fields() {
			fields = append(fields, f)
		}
		return slices.EqualFunc(fields, wanted, table.SortField.Equals)
	}
	if same(meta.SortOrder()) {
		return nil, nil
	}
	last := table.UnsortedSortOrderID
	for _, order := range meta.SortOrders() {
		if same(order) {
			return []table.Update{table.NewSetDefaultSortOrderUpdate(order.OrderID())}, nil
		}
		last = max(last, order.OrderID())
	}
	order, err := newOrder(last+1, wanted)
	if err != nil {
		return nil, fmt.Errorf("ordering the rows of table %s: %w", t, err)
	}
	return []table.Update{table.NewAddSortOrderUpdate(&order), table.NewSetDefaultSortOrderUpdate(-1)}, nil
}

func newOrder(id int, fields []table.SortField) (table.SortOrder, error) {
	if len(fields) == 0 {
		return table.UnsortedSortOrder, nil
	}
	return table.NewSortOrder(id, fields)
}

// sortFields are the options' fields, of a schema's columns.
func (t *Table) sortFields(schema *iceberg.Schema) ([]table.SortField, error) {
	var fields []table.SortField
	for _, by := range t.opts.SortBy {
		f, err := t.column(schema, by.Column)
		if err != nil {
			return nil, err
		}
		direction, nulls := by.direction()
		fields = append(fields, table.SortField{SourceIDs: []int{f.ID}, Transform: iceberg.IdentityTransform{}, Direction: direction, NullOrder: nulls})
	}
	return fields, nil
}

// column finds the table's column that a property's values go to now.
func (t *Table) column(schema *iceberg.Schema, property string) (iceberg.NestedField, error) {
	if wanted, ok := t.plan.Column(property); ok {
		if f, ok := schema.FindFieldByID(t.columns.IDs[wanted.ID]); ok {
			return f, nil
		}
	}
	return iceberg.NestedField{}, fmt.Errorf("arranging table %s: it has no column for %q", t, property)
}

// writable is an error when rows cannot be written as the table's spec wants.
func (t *Table) writable() error {
	for f := range effective(t.spec) {
		if _, unknown := f.Transform.(iceberg.UnknownTransform); unknown || len(f.SourceIDs) != 1 {
			return t.configError(nil, "Table %s is partitioned by %s, which this version cannot compute. Change its partition spec, or write the stream to another namespace.", t, f.Transform)
		}
		if _, there := t.schema.FindFieldByID(f.SourceID()); !there {
			return t.configError(nil, "Table %s is partitioned by a column that it no longer has, as %s. Change its partition spec, or write the stream to another namespace.", t, f.Name)
		}
	}
	return nil
}

// specOf is the spec a file was written by, which not always is the table's.
func specOf(meta table.Metadata, f iceberg.DataFile) (iceberg.PartitionSpec, error) {
	spec := meta.PartitionSpecByID(int(f.SpecID()))
	if spec == nil {
		return iceberg.PartitionSpec{}, fmt.Errorf("%s has the unknown partition spec %d", f.FilePath(), f.SpecID())
	}
	return *spec, nil
}

// clauses shows fields as a configuration has them.
func clauses[T fmt.Stringer](fields []T) string {
	var all []string
	for _, f := range fields {
		all = append(all, f.String())
	}
	return strings.Join(all, ", ")
}
