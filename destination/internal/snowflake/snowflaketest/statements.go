package snowflaketest

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// execute does what a statement says.
func (a *Account) execute(s *session, statement string) (r result, err *refused) {
	defer func() {
		if p := recover(); p != nil {
			var ok bool
			if err, ok = p.(*refused); !ok {
				panic(p)
			}
		}
	}()
	all, err := tokens(statement)
	if err != nil {
		return result{}, err
	}
	p := &parser{statement: statement, rest: all}
	switch p.one("SELECT", "DESCRIBE", "SHOW", "CREATE", "ALTER", "DROP ICEBERG TABLE IF EXISTS", "GRANT") {
	case "SELECT":
		return a.doSelect(s, p), nil
	case "DESCRIBE":
		return a.describe(s, p), nil
	case "SHOW":
		return a.show(s, p), nil
	case "CREATE":
		a.create(s, p)
	case "ALTER":
		a.alter(s, p)
	case "GRANT":
		a.grant(s, p)
	default:
		a.drop(s, p)
	}
	return result{}, nil
}

// oneText is a result of one text.
func oneText(text string) result { return result{[]string{"VALUE"}, [][]any{{text}}} }

// argument reads the argument of a function.
func (p *parser) argument() string {
	p.next('(', "(")
	text := p.literal()
	p.next(')', ")")
	p.end()
	return text
}

func (a *Account) doSelect(s *session, p *parser) result {
	switch p.one("CURRENT_ROLE", "IFF", "SYSTEM$GET_ICEBERG_TABLE_INFORMATION", "SYSTEM$CATALOG_LINK_STATUS", "SYSTEM$AUTO_REFRESH_STATUS") {
	case "CURRENT_ROLE":
		p.next('(', "(")
		p.next(')', ")")
		p.end()
		return oneText(s.role)
	case "IFF":
		p.next('(', "(")
		p.words("IS_ROLE_IN_SESSION")
		p.next('(', "(")
		role := p.literal()
		p.next(')', ")")
		p.next(',', ",")
		yes := p.literal()
		p.next(',', ",")
		no := p.literal()
		p.next(')', ")")
		p.end()
		if slices.Contains(a.rolesOf(s), role) {
			return oneText(yes)
		}
		return oneText(no)
	case "SYSTEM$GET_ICEBERG_TABLE_INFORMATION":
		text, err := json.Marshal(map[string]string{"metadataLocation": a.table(s, nameIn(p.argument(), 3)).location, "status": "success"})
		if err != nil {
			panic(err)
		}
		return oneText(string(text))
	case "SYSTEM$CATALOG_LINK_STATUS":
		name := nameIn(p.argument(), 1)
		a.use(s, "DATABASE", name, "USAGE")
		if a.LinkStatus[name] == "" {
			panic(&refused{"370001", "XX000", "Processing aborted by an internal error."})
		}
		return oneText(a.LinkStatus[name])
	}
	name := nameIn(p.argument(), 3)
	status, ok := a.RefreshStatus[shown(name)]
	if !ok {
		panic(unseen("Table", name))
	}
	return oneText(status)
}

func (a *Account) describe(s *session, p *parser) result {
	properties := result{columns: []string{"parent_property", "property", "property_type", "property_value"}}
	switch kind := p.one("DATABASE", "SCHEMA", "EXTERNAL VOLUME", "CATALOG INTEGRATION", "ICEBERG TABLE"); kind {
	case "DATABASE":
		a.use(s, kind, p.name(1))
	case "SCHEMA":
		name := p.name(2)
		database, _, _ := strings.Cut(name, "\x00")
		a.use(s, "DATABASE", database, "USAGE")
		a.use(s, kind, name)
	case "EXTERNAL VOLUME":
		name := p.name(1)
		a.use(s, kind, name, "USAGE")
		text, err := json.Marshal(map[string]string{"NAME": "lake", "STORAGE_PROVIDER": "S3", "STORAGE_BASE_URL": a.volumes[name]})
		if err != nil {
			panic(err)
		}
		properties.rows = append(properties.rows, []any{"", "ALLOW_WRITES", "Boolean", "false"}, []any{"STORAGE_LOCATIONS", "STORAGE_LOCATION_1", "String", string(text)}, []any{"STORAGE_LOCATIONS", "ACTIVE", "String", "lake"})
	case "CATALOG INTEGRATION":
		name := p.name(1)
		a.use(s, kind, name, "USAGE")
		for _, key := range slices.Sorted(maps.Keys(a.integrations[name])) {
			properties.rows = append(properties.rows, []any{"", key, "String", a.integrations[name][key]})
		}
	case "ICEBERG TABLE":
		columns := result{columns: []string{"name", "type", "kind", "null?"}}
		for _, c := range a.table(s, p.name(3)).columns {
			columns.rows = append(columns.rows, []any{c.Name, c.Type, "COLUMN", "Y"})
		}
		properties = columns
	}
	p.end()
	return properties
}

func (a *Account) show(s *session, p *parser) result {
	if p.one("GRANTS ON SCHEMA", "ICEBERG TABLES IN SCHEMA") == "GRANTS ON SCHEMA" {
		name := p.name(2)
		p.end()
		a.use(s, "SCHEMA", name)
		grants := result{columns: []string{"created_on", "privilege", "granted_on", "name", "granted_to", "grantee_name"}}
		for _, g := range a.grants["SCHEMA "+name] {
			grants.rows = append(grants.rows, []any{"2026-01-01", g.privilege, "SCHEMA", shown(name), "ROLE", g.role})
		}
		return grants
	}
	schema := p.name(2)
	p.end()
	a.useSchema(s, schema)
	tables := result{columns: []string{"created_on", "name", "owner", "external_volume_name", "catalog_name", "iceberg_table_type"}}
	for _, name := range slices.Sorted(maps.Keys(a.tables)) {
		if t := a.tables[name]; strings.HasPrefix(name, schema+"\x00") && a.may(s, "ICEBERG TABLE", name) {
			tables.rows = append(tables.rows, []any{"2026-01-01", name[len(schema)+1:], t.owner, t.volume, t.integration, t.kind})
		}
	}
	return tables
}

func (a *Account) create(s *session, p *parser) {
	kind := p.one("ICEBERG TABLE", "DATABASE", "SCHEMA", "EXTERNAL VOLUME", "CATALOG INTEGRATION")
	p.words("IF NOT EXISTS")
	name := p.name(map[string]int{"ICEBERG TABLE": 3, "SCHEMA": 2}[kind])
	options := p.options()
	if kind == "ICEBERG TABLE" {
		a.register(s, name, options)
		return
	}
	if s.role != "ACCOUNTADMIN" {
		panic(&refused{"003001", "42501", "SQL access control error: Insufficient privileges to operate on account."})
	}
	if a.existing[kind][name] {
		return
	}
	switch kind {
	case "SCHEMA":
		database, _, _ := strings.Cut(name, "\x00")
		a.use(s, "DATABASE", database)
	case "EXTERNAL VOLUME":
		a.volumes[name] = options["STORAGE_LOCATIONS.STORAGE_BASE_URL"]
		if a.volumes[name] == "" || options["ALLOW_WRITES"] != "FALSE" {
			panic(syntaxError("the volume has the options %v", options))
		}
	case "CATALOG INTEGRATION":
		if want, known := integrationOptions[options["CATALOG_SOURCE"]]; !known || options["TABLE_FORMAT"] != "ICEBERG" || !hasAll(options, want) {
			panic(syntaxError("the integration has the options %v", options))
		}
		a.integrations[name] = options
	}
	a.add(kind, name)
	a.grants[kind+" "+name] = append(a.grants[kind+" "+name], grant{"OWNERSHIP", s.role})
}

// integrationOptions are those that each kind of catalog integration must have.
var integrationOptions = map[string][]string{
	"OBJECT_STORE": {"ENABLED"},
	"GLUE":         {"ENABLED", "GLUE_AWS_ROLE_ARN", "GLUE_CATALOG_ID"},
	"ICEBERG_REST": {"ENABLED", "REST_CONFIG.CATALOG_URI", "REST_AUTHENTICATION.TYPE"},
	"POLARIS":      {"ENABLED", "REST_CONFIG.CATALOG_URI", "REST_CONFIG.CATALOG_NAME", "REST_AUTHENTICATION.OAUTH_CLIENT_SECRET"},
}

func hasAll(options map[string]string, keys []string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { return options[key] == "" })
}

// register creates a table.
func (a *Account) register(s *session, name string, options map[string]string) {
	a.useSchema(s, name, "CREATE ICEBERG TABLE")
	integration := storedName(options["CATALOG"])
	a.use(s, "CATALOG INTEGRATION", integration, "USAGE")
	source := a.integrations[integration]["CATALOG_SOURCE"]
	t := &icebergTable{owner: s.role, integration: integration, kind: "UNMANAGED", namespace: options["CATALOG_NAMESPACE"], source: options["CATALOG_TABLE_NAME"]}
	if volume, ok := options["EXTERNAL_VOLUME"]; ok || source == "OBJECT_STORE" || source == "GLUE" {
		t.volume = storedName(volume)
		a.use(s, "EXTERNAL VOLUME", t.volume, "USAGE")
	} else if a.integrations[integration]["REST_CONFIG.ACCESS_DELEGATION_MODE"] != "VENDED_CREDENTIALS" {
		panic(&refused{"093175", "22023", "SQL compilation error: The table has no EXTERNAL_VOLUME, and the catalog integration no vended credentials."})
	}
	wanted := []string{"AUTO_REFRESH", "CATALOG", "CATALOG_NAMESPACE", "CATALOG_TABLE_NAME"}
	if source == "OBJECT_STORE" {
		wanted = []string{"CATALOG", "METADATA_FILE_PATH"}
	}
	delete(options, "EXTERNAL_VOLUME")
	if got := slices.Sorted(maps.Keys(options)); !slices.Equal(got, wanted) {
		panic(syntaxError("a table of the source %s has the options %v", source, got))
	}
	if a.tables[name] != nil {
		return
	}
	a.stand(t, options["METADATA_FILE_PATH"], source == "OBJECT_STORE")
	a.tables[name] = t
	a.add("ICEBERG TABLE", name)
	a.grants["ICEBERG TABLE "+name] = append(a.grants["ICEBERG TABLE "+name], grant{"OWNERSHIP", s.role})
}

// stand moves a table to a metadata file: the one at a path below the base of its
// volume, or the one that the catalog has.
func (a *Account) stand(t *icebergTable, path string, byPath bool) {
	if byPath != (path != "") {
		panic(&refused{"093700", "0A000", "SQL compilation error: METADATA_FILE_PATH and the source of the catalog integration do not agree."})
	}
	location := strings.TrimSuffix(a.volumes[t.volume], "/") + "/" + path
	if !byPath {
		var err error
		if location, err = a.Current(t.namespace, t.source); err != nil {
			panic(&refused{"093500", "02000", "The catalog has no such table: " + err.Error()})
		}
	} else if strings.HasPrefix(path, "/") || strings.Contains(path, "..") {
		panic(&refused{"091360", "22000", "The path must be relative: " + path})
	}
	columns, err := a.Read(location)
	if err != nil {
		panic(&refused{"091361", "22000", fmt.Sprintf("The metadata file %s cannot be read: %v", location, err)})
	}
	t.location, t.columns = location, columns
}

func (a *Account) alter(s *session, p *parser) {
	switch p.one("ICEBERG TABLE", "CATALOG INTEGRATION", "USER") {
	case "ICEBERG TABLE":
		name := p.name(3)
		p.words("REFRESH")
		path := ""
		if len(p.rest) > 0 {
			path = p.literal()
		}
		p.end()
		t := a.table(s, name)
		if !a.may(s, "ICEBERG TABLE", name, "OWNERSHIP") {
			panic(&refused{"003001", "42501", "SQL access control error: Insufficient privileges to operate on table '" + shown(name) + "'."})
		}
		a.stand(t, path, a.integrations[t.integration]["CATALOG_SOURCE"] == "OBJECT_STORE")
	case "CATALOG INTEGRATION":
		name := p.name(1)
		p.words("SET ENABLED")
		p.next('=', "=")
		a.use(s, "CATALOG INTEGRATION", name, "OWNERSHIP")
		a.integrations[name]["ENABLED"] = p.next('w', "a value")
		p.end()
	case "USER":
		name := p.name(1)
		p.words("SET RSA_PUBLIC_KEY")
		p.next('=', "=")
		der, err := base64.StdEncoding.DecodeString(p.literal())
		if err != nil {
			panic(syntaxError("%v", err))
		}
		p.end()
		key, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			panic(syntaxError("%v", err))
		}
		a.Users[name].PublicKey = key.(*rsa.PublicKey)
	}
}

func (a *Account) drop(s *session, p *parser) {
	name := p.name(3)
	p.end()
	a.useSchema(s, name)
	if a.tables[name] == nil {
		return
	}
	a.use(s, "ICEBERG TABLE", name, "OWNERSHIP")
	delete(a.tables, name)
	delete(a.existing["ICEBERG TABLE"], name)
	delete(a.grants, "ICEBERG TABLE "+name)
}

func (a *Account) grant(s *session, p *parser) {
	if s.role != "ACCOUNTADMIN" {
		panic(&refused{"003001", "42501", "SQL access control error: Insufficient privileges to operate on account."})
	}
	if p.is("ROLE") {
		role := p.identifier()
		to := p.one("TO USER", "TO ROLE")
		name := p.identifier()
		p.end()
		if to == "TO ROLE" {
			a.inherited[name] = append(a.inherited[name], role)
			return
		}
		a.Users[name].Roles = append(a.Users[name].Roles, role)
		return
	}
	privileges := []string{p.one("USAGE", "OWNERSHIP", "CREATE ICEBERG TABLE")}
	for len(p.rest) > 0 && p.rest[0].kind == ',' {
		p.next(',', ",")
		privileges = append(privileges, p.one("USAGE", "CREATE ICEBERG TABLE"))
	}
	p.words("ON")
	kind := p.one("DATABASE", "SCHEMA", "EXTERNAL VOLUME", "INTEGRATION", "ICEBERG TABLE")
	name := p.name(map[string]int{"ICEBERG TABLE": 3, "SCHEMA": 2}[kind])
	if kind == "INTEGRATION" {
		kind = "CATALOG INTEGRATION"
	}
	p.words("TO ROLE")
	role := p.identifier()
	if privileges[0] == "OWNERSHIP" {
		p.is("COPY CURRENT GRANTS")
		a.use(s, kind, name)
		a.grants[kind+" "+name] = nil
		a.tables[name].owner = role
	}
	p.end()
	if !a.existing[kind][name] {
		panic(unseen(kind, name))
	}
	for _, privilege := range privileges {
		a.grants[kind+" "+name] = append(a.grants[kind+" "+name], grant{privilege, role})
	}
}
