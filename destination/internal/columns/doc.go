// Package columns says which column of a table holds the values of which
// property. It does no I/O.
//
// A table keeps its mapping in the property airbyte.columns: entries that tie a
// property, as the source spells it, to the field id of a column. Field ids
// never change and are never used again, so a column that another program
// renames or reorders is still the property's. Entries are added together with
// the columns, and never changed or removed. Properties inside objects belong to
// the column of the object, at each level by the same rules:
//
//  1. A property has the columns that entries tie to it. It has several when its
//     type changed to one that its column cannot hold: then a column is added,
//     called after the property and the type (score, then score_string). Its
//     values go to the newest column that can hold them, one of exactly the
//     wanted type before one that holds it as well. So a source that returns to an
//     old type returns to the old column.
//  2. Iceberg widens int to long, float to double, and the precision of
//     decimals. Columns of doubles and of decimals both hold numbers, and are one
//     type. Text and JSON text are two types; entries tell them apart,
//     as both are strings to Iceberg. Objects take each other's values whatever
//     their properties; lists do when their elements do.
//  3. A property without a column, whose name equals that of exactly one property
//     of the mapping when case is ignored, is that property, provided that the
//     present schema lacks the other spelling and has no third. Both spellings
//     are tied to the column from then on. When both are in the schema later, the
//     column is that of the older spelling, and the other gets its own.
//  4. Any other property is new. Its column gets the name that the naming policy
//     makes of it; when that name is taken, which ignores case and counts all
//     columns of the level, whoever made them, it gets a suffix made from the
//     property's name. Of new properties that would get one name, the one that
//     needs no change has it.
//  5. A column that another program dropped is gone: its property is given a new
//     one, with a new id.
//  6. A key of append_dedup has one type and one column, the oldest of its
//     property. That its values would go to another, or that all columns of a
//     key's property were dropped, is a config_error, before anything is changed. A
//     key of doubles stays so in a table that has it; in new tables a number in the
//     key is a decimal.
//  7. Key columns are the table's identifier fields if all of them are required
//     and none is a double. A column that is there is never made required, and
//     columns that the stream lacks become optional.
//  8. Columns of tables without a mapping are adopted. In a table of this program
//     a column's doc begins with the name of its property where the two differ.
//     In tables of other programs columns are called as the property, or as the
//     naming policy would call them, without case if need be. From then on rule 1
//     applies, also to columns that the present schema lacks.
//
// The doc of a column is the description of its property, and follows it until another
// program writes a doc. The property airbyte.docs tells which docs are this program's.
//
// The columns of Airbyte (_airbyte_raw_id and so on) have fixed names and no
// entries.
package columns
