package snowflaketest

import (
	"slices"
	"strings"
	"sync"
)

// objects are what an account has. Names of several parts have zero bytes between
// them.
type objects struct {
	mu           sync.Mutex
	existing     map[string]map[string]bool // kind, name
	grants       map[string][]grant         // by kind and name
	inherited    map[string][]string        // roles that a role has
	volumes      map[string]string          // the base URL
	integrations map[string]map[string]string
	tables       map[string]*icebergTable
}

type grant struct{ privilege, role string }

type icebergTable struct {
	owner, volume, integration, kind string
	namespace, source                string // in the catalog
	location                         string // of the metadata file at which Snowflake stands
	columns                          []Column
}

func newObjects() objects {
	return objects{
		existing: map[string]map[string]bool{}, grants: map[string][]grant{}, inherited: map[string][]string{}, volumes: map[string]string{},
		integrations: map[string]map[string]string{}, tables: map[string]*icebergTable{},
	}
}

func (o *objects) add(kind, name string) {
	if o.existing[kind] == nil {
		o.existing[kind] = map[string]bool{}
	}
	o.existing[kind][name] = true
}

// rolesOf lists the roles of a session.
func (o *objects) rolesOf(s *session) []string {
	all := []string{s.role}
	for i := 0; i < len(all); i++ {
		for _, role := range o.inherited[all[i]] {
			if !slices.Contains(all, role) {
				all = append(all, role)
			}
		}
	}
	return all
}

// may reports whether a session has one of some privileges on an object, or any if
// none is listed.
func (o *objects) may(s *session, kind, name string, privileges ...string) bool {
	if s.role == "ACCOUNTADMIN" {
		return true
	}
	roles := o.rolesOf(s)
	return slices.ContainsFunc(o.grants[kind+" "+name], func(g grant) bool {
		return slices.Contains(roles, g.role) && (len(privileges) == 0 || g.privilege == "OWNERSHIP" || slices.Contains(privileges, g.privilege))
	})
}

// use panics unless a session may use an object.
func (o *objects) use(s *session, kind, name string, privileges ...string) {
	if !o.existing[kind][name] || !o.may(s, kind, name) {
		panic(unseen(kind, name))
	}
	if !o.may(s, kind, name, privileges...) {
		panic(&refused{"003001", "42501", "SQL access control error: Insufficient privileges to operate on " + strings.ToLower(kind) + " '" + shown(name) + "'."})
	}
}

func unseen(kind, name string) *refused {
	code := "002003"
	if kind == "SCHEMA" {
		code = "002043"
	}
	return &refused{code, "02000", "SQL compilation error: " + kind + " '" + shown(name) + "' does not exist or not authorized."}
}

func shown(name string) string { return strings.ReplaceAll(name, "\x00", ".") }

// useSchema panics unless a session may use the schema of a table.
func (o *objects) useSchema(s *session, table string, privileges ...string) {
	database, rest, _ := strings.Cut(table, "\x00")
	schema, _, _ := strings.Cut(rest, "\x00")
	o.use(s, "DATABASE", database, "USAGE")
	o.use(s, "SCHEMA", database+"\x00"+schema, append(privileges, "USAGE")...)
	if len(privileges) > 0 && !o.may(s, "SCHEMA", database+"\x00"+schema, privileges...) {
		panic(&refused{"003001", "42501", "SQL access control error: Insufficient privileges to operate on schema '" + schema + "'."})
	}
}

// table returns a table that a session may see.
func (o *objects) table(s *session, name string) *icebergTable {
	o.useSchema(s, name)
	t := o.tables[name]
	if t == nil || !o.may(s, "ICEBERG TABLE", name) {
		panic(unseen("Table", name))
	}
	return t
}

// Table returns the metadata file at which Snowflake stands with a table, and the
// columns that it shows; "" if it does not have the table.
func (a *Account) Table(database, schema, table string) (location string, columns []Column) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tables[strings.Join([]string{database, schema, table}, "\x00")]
	if t == nil {
		return "", nil
	}
	return t.location, t.columns
}

// ShowColumns makes an account show other columns of a table than it has read.
func (a *Account) ShowColumns(database, schema, table string, columns []Column) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tables[strings.Join([]string{database, schema, table}, "\x00")].columns = columns
}
