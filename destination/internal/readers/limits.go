package readers

// A feature is something that a table can have and that not every reader reads.
type feature struct {
	name   string // as the documentation has it
	limits []limit
	remedy string
	chosen func(Options) string // what in the configuration leads to it, "" if nothing does; nil: nothing can
	found  func(Table) string   // what of a table has it, "" if nothing does; nil: only the rows tell
}

// A limit is what one reader does with a feature, and who says so.
type limit struct {
	reader Reader
	effect string
	source string // a URL, or the section of the documentation that says what was measured
}

const (
	athenaNames   = "https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html"
	athenaTypes   = "https://docs.aws.amazon.com/athena/latest/ug/querying-iceberg-supported-data-types.html"
	bigQueryNests = "https://cloud.google.com/bigquery/docs/nested-repeated"
	databricks    = "https://docs.databricks.com/aws/iceberg"
	redshiftTypes = "https://docs.aws.amazon.com/redshift/latest/dg/querying-iceberg-supported-data-types.html"
	sparkTypes    = "https://iceberg.apache.org/docs/latest/spark-getting-started/#iceberg-type-to-spark-type"
)

const (
	renameOrMove = "let another program rename them, or write the stream to another namespace"
	dropOrMove   = "let another program drop them, or write the stream to another namespace, where this program makes no such columns"
)

// features are what is known of all readers. Only what is documented
// somewhere or was measured is here: a reader without a limit may have one.
var features = []feature{
	{
		name: "position deletes in format version 2",
		limits: []limit{
			{Databricks, "Databricks does not support them", databricks},
		},
		remedy: `set "upsert" to "copy_on_write", and let another program compact tables that have some`,
		chosen: writesPositionDeletes, found: positionDeletes,
	},
	{
		name: "equality deletes, which other programs write",
		limits: []limit{
			{Databricks, "Databricks does not support them", databricks},
			{PyIceberg, "PyIceberg refuses to read the table", "https://github.com/apache/iceberg-python/issues/3270"},
			{Snowflake, "Snowflake refuses the table with error 091968, or goes on showing an earlier snapshot", "https://github.com/MaterializeInc/materialize/pull/38458"},
		},
		remedy: "compact the table with the program that wrote them",
		found:  equalityDeletes,
	},
	{
		name: "format version 3",
		limits: []limit{
			{Athena, "Athena does not read it", "https://docs.aws.amazon.com/prescriptive-guidance/latest/apache-iceberg-on-aws/table-spec-v3.html"},
			{BigQuery, "BigQuery's external tables support version 2", "https://cloud.google.com/bigquery/docs/iceberg-external-tables"},
		},
		remedy: "write the stream to another namespace, where this program makes a table of version 2",
		found:  version3,
	},
	{
		name: "columns of type `time`",
		limits: []limit{
			{Athena, "Athena has no type for them", athenaTypes},
			{Redshift, "Redshift has no type for them", redshiftTypes},
			{Spark, "Spark has no type for them", sparkTypes},
		},
		remedy: dropOrMove,
		found:  columnsOf("of type time", isTime),
	},
	{
		name: "columns of type `uuid`",
		limits: []limit{
			{Athena, "Athena does not support the type", athenaTypes},
			{Redshift, "Redshift does not support the type", redshiftTypes},
		},
		remedy: dropOrMove,
		found:  columnsOf("of type uuid", isUUID),
	},
	{
		name: "columns of type `fixed`",
		limits: []limit{
			{Athena, "Athena does not support the type", athenaTypes},
			{Redshift, "Redshift does not support the type", redshiftTypes},
		},
		remedy: dropOrMove,
		found:  columnsOf("of type fixed", isFixed),
	},
	{
		name: "timestamps in nanoseconds",
		limits: []limit{
			{Spark, "Spark has no type for them", "https://github.com/apache/iceberg/issues/13681"},
		},
		remedy: dropOrMove,
		found:  columnsOf("of timestamps in nanoseconds", isNanoseconds),
	},
	{
		name: "lists of lists",
		limits: []limit{
			{BigQuery, "an array of BigQuery cannot contain another one", bigQueryNests},
		},
		remedy: `remove the "items" of the inner array from the stream's schema in the catalog, and write to another namespace: strings then hold it as JSON`,
		found:  columnsOf("that are lists of lists", isListOfLists),
	},
	{
		name: "objects nested more than 15 levels deep",
		limits: []limit{
			{BigQuery, "BigQuery reads no more than 15 levels of nested records", bigQueryNests},
		},
		remedy: `set "nested" to "json", and write the stream to another namespace`,
		found:  columnsOf("that are objects nested more than 15 levels deep", isDeep),
	},
	{
		name: "required fields in objects",
		limits: []limit{
			{BigQuery, "BigQuery cannot read them from AWS Glue", "https://github.com/airbytehq/airbyte/pull/85188"},
		},
		remedy: "let another program make them optional, or write the stream to another namespace, where only keys are required",
		found:  columnsOf("that are required in an object", isRequiredInObject),
	},
	{
		name: "strings longer than 16,384 bytes",
		limits: []limit{
			{Redshift, "Redshift cuts strings after 16384 bytes", redshiftTypes},
		},
		remedy: `set "nested" to "struct", so that objects are not strings`,
		chosen: writesJSON,
	},
	{
		name: "names with upper-case letters",
		limits: []limit{
			{Athena, "AWS Glue has only lower-case names, and Athena asks for no others", athenaNames},
			{Snowflake, "Snowflake takes only lower-case names from AWS Glue and catalogs like it", "https://docs.snowflake.com/en/sql-reference/sql/create-iceberg-table-glue"},
		},
		remedy: `set "names" to "lowercase" before the table is made; names that are there can be changed by another program`,
		chosen: preservesNames("keeps upper-case letters in names"), found: names("names with upper-case letters", hasUpperCase),
	},
	{
		name: "names of fields in objects with other characters than letters, digits, `_` and `.`",
		limits: []limit{
			{Athena, "Athena does not allow them in complex types", athenaNames},
		},
		remedy: `set "names" to "lowercase" before the table is made; names that are there can be changed by another program`,
		chosen: preservesNames("keeps special characters in the names of fields in objects"), found: columnsOf("with special characters in an object", isSpecialInObject),
	},
	{
		name: "names that differ only in case",
		limits: []limit{
			{Athena, "Athena does not tell them apart", athenaNames},
			{Trino, "Trino cannot read the table", "https://github.com/trinodb/trino/issues/28981"},
		},
		remedy: renameOrMove,
		found:  columnsOf("whose names differ only in case", isCaseTwin),
	},
	{
		name: "names longer than 127 bytes",
		limits: []limit{
			{Redshift, "Redshift allows no longer ones", "https://docs.aws.amazon.com/redshift/latest/dg/r_names.html"},
		},
		remedy: renameOrMove,
		found:  names("names longer than 127 bytes", isLong),
	},
	{
		name: "partitions by `month` or `day` of timestamps before 1970",
		limits: []limit{
			{DuckDB, "DuckDB 1.5.5 looks in the wrong partition when a filter asks for one timestamp before 1970", "#partitions-and-sort-order"},
		},
		remedy: "if there are such timestamps, query a range of them, or partition by something else",
		chosen: choosesMonthOrDay, found: monthOrDay,
	},
}
