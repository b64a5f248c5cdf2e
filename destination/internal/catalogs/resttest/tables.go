package resttest

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

func (s *Server) listTables(r *http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	namespace, err := s.namespace(r)
	if err != nil {
		return nil, err
	}
	found := []map[string]any{}
	for id := range s.tables {
		if name, in := strings.CutPrefix(id, namespace+separator); in && !strings.Contains(name, separator) {
			found = append(found, map[string]any{"namespace": strings.Split(namespace, separator), "name": name})
		}
	}
	return map[string]any{"identifiers": found}, nil
}

func (s *Server) createTable(r *http.Request) (any, error) {
	var request struct {
		Name          string                  `json:"name"`
		Location      string                  `json:"location"`
		Schema        *iceberg.Schema         `json:"schema"`
		PartitionSpec json.RawMessage         `json:"partition-spec"`
		WriteOrder    *table.UnboundSortOrder `json:"write-order"`
		StageCreate   bool                    `json:"stage-create"`
		Properties    iceberg.Properties      `json:"properties"`
	}
	if err := read(r, &request); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	namespace, err := s.namespace(r)
	if err != nil {
		return nil, err
	}
	id := namespace + separator + request.Name
	if s.tables[id] != nil {
		return nil, refuse(http.StatusConflict, "AlreadyExistsException", "table %s exists", request.Name)
	}
	location := request.Location
	if location == "" {
		location = s.Warehouse + "/" + strings.ReplaceAll(namespace, separator, "/") + "/" + request.Name
	}
	spec, err := partitionSpec(request.PartitionSpec)
	if err != nil {
		return nil, err
	}
	metadata, err := newMetadata(request.Schema, spec, request.WriteOrder, location, request.Properties)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "BadRequestException", "%v", err)
	}
	made := &entry{metadata: metadata, version: -1}
	if made, err = s.write(made, metadata); err != nil {
		return nil, err
	}
	s.tables[id] = made
	return s.loaded(r, made), nil
}

// partitionSpec reads that of a new table. Its fields may have ids, which Iceberg counts from 1000 on. Nessie answers
// 400 to others.
func partitionSpec(text json.RawMessage) (*iceberg.UnboundPartitionSpec, error) {
	if text == nil {
		return nil, nil
	}
	var ids struct {
		Fields []struct {
			ID *int `json:"field-id"`
		}
	}
	spec := &iceberg.UnboundPartitionSpec{}
	if err := errors.Join(json.Unmarshal(text, &ids), json.Unmarshal(text, spec)); err != nil {
		return nil, refuse(http.StatusBadRequest, "BadRequestException", "malformed partition spec: %v", err)
	}
	for _, field := range ids.Fields {
		if field.ID != nil && *field.ID < iceberg.PartitionDataIDStart {
			return nil, refuse(http.StatusBadRequest, "BadRequestException", "partition field id %d", *field.ID)
		}
	}
	return spec, nil
}

// loaded is the answer with a table.
func (s *Server) loaded(r *http.Request, e *entry) any {
	result := struct {
		Location string         `json:"metadata-location"`
		Metadata table.Metadata `json:"metadata"`
		Access
	}{Location: e.location, Metadata: e.metadata}
	if s.Access != nil {
		result.Access = s.Access(r)
	}
	return result
}

// entry returns the table of a request. s is locked.
func (s *Server) entry(r *http.Request) (string, *entry, error) {
	id := r.PathValue("namespace") + separator + r.PathValue("table")
	if s.tables[id] == nil {
		return "", nil, refuse(http.StatusNotFound, "NoSuchTableException", "table %q does not exist", r.PathValue("table"))
	}
	return id, s.tables[id], nil
}

func (s *Server) loadTable(r *http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, e, err := s.entry(r)
	if err != nil {
		return nil, err
	}
	return s.loaded(r, e), nil
}

func (s *Server) dropTable(r *http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _, err := s.entry(r)
	if err != nil {
		return nil, err
	}
	delete(s.tables, id)
	return nil, nil
}

func (s *Server) renameTable(r *http.Request) (any, error) {
	type identifier struct {
		Namespace []string `json:"namespace"`
		Name      string   `json:"name"`
	}
	var request struct {
		Source      identifier `json:"source"`
		Destination identifier `json:"destination"`
	}
	if err := read(r, &request); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	namespace := strings.Join(request.Destination.Namespace, separator)
	from := strings.Join(request.Source.Namespace, separator) + separator + request.Source.Name
	to := namespace + separator + request.Destination.Name
	switch _, there := s.namespaces[namespace]; {
	case !there:
		return nil, refuse(http.StatusNotFound, "NoSuchNamespaceException", "namespace %q does not exist", namespace)
	case s.tables[from] == nil:
		return nil, refuse(http.StatusNotFound, "NoSuchTableException", "table %q does not exist", request.Source.Name)
	case s.tables[to] != nil:
		return nil, refuse(http.StatusConflict, "AlreadyExistsException", "table %s exists", request.Destination.Name)
	}
	s.tables[to] = s.tables[from]
	delete(s.tables, from)
	return nil, nil
}

func (s *Server) commit(r *http.Request) (any, error) {
	var request struct {
		Identifier   json.RawMessage    `json:"identifier"`
		Requirements table.Requirements `json:"requirements"`
		Updates      table.Updates      `json:"updates"`
	}
	if err := read(r, &request); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, e, err := s.entry(r)
	if err != nil {
		return nil, err
	}
	for _, requirement := range request.Requirements {
		if err := requirement.Validate(e.metadata); err != nil {
			return nil, refuse(http.StatusConflict, "CommitFailedException", "%v", err)
		}
	}
	for _, update := range request.Updates {
		if s.NoBranches && update.Action() == table.UpdateSetSnapshotRef && !ofMain(update) {
			return nil, refuse(http.StatusConflict, "CommitFailedException", "only the main branch is kept")
		}
	}
	metadata, err := table.UpdateTableMetadata(e.metadata, request.Updates, e.location)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "BadRequestException", "%v", err)
	}
	next, err := s.write(e, metadata)
	if err != nil {
		return nil, err
	}
	s.removeDropped(e.metadata, metadata)
	s.tables[id] = next
	return map[string]any{"metadata-location": next.location, "metadata": next.metadata}, nil
}

func ofMain(update table.Update) bool {
	var ref struct {
		Name string `json:"ref-name"`
	}
	text, err := json.Marshal(update)
	return err == nil && json.Unmarshal(text, &ref) == nil && ref.Name == table.MainBranch
}

// write writes the next metadata file of a table.
func (s *Server) write(before *entry, metadata table.Metadata) (*entry, error) {
	locations, err := table.LoadLocationProvider(metadata.Location(), metadata.Properties())
	if err != nil {
		return nil, err
	}
	next := &entry{metadata: metadata, version: before.version + 1}
	if next.location, err = locations.NewTableMetadataFileLocation(next.version); err != nil {
		return nil, err
	}
	text, err := json.Marshal(metadata)
	if err != nil {
		return nil, err
	}
	return next, s.Files.WriteFile(next.location, text)
}

// removeDropped removes the metadata files that a commit has dropped from the
// table's list.
func (s *Server) removeDropped(before, after table.Metadata) {
	if !after.Properties().GetBool(table.MetadataDeleteAfterCommitEnabledKey, false) {
		return
	}
	listed := map[string]bool{}
	for f := range after.PreviousFiles() {
		listed[f.MetadataFile] = true
	}
	for f := range before.PreviousFiles() {
		if !listed[f.MetadataFile] {
			_ = s.Files.Remove(f.MetadataFile) // it is only in the way
		}
	}
}

func newMetadata(schema *iceberg.Schema, spec *iceberg.UnboundPartitionSpec, order *table.UnboundSortOrder, location string, properties iceberg.Properties) (table.Metadata, error) {
	if schema == nil {
		return nil, errors.New("there is no schema")
	}
	partitions, sorted := iceberg.UnpartitionedSpec, table.UnsortedSortOrder
	if spec != nil {
		partitions = &spec.PartitionSpec
	}
	if order != nil {
		sorted = order.SortOrder
	}
	return table.NewMetadata(schema, partitions, sorted, location, properties)
}
