// Package resttest is an Iceberg REST catalog in the process of a test. It is strict:
// it refuses what the OpenAPI specification of the protocol does not know.
package resttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
)

// Server is a catalog. What is left out it does not do.
type Server struct {
	Files      iceio.WriteFileIO // to which the catalog writes metadata files
	Warehouse  string            // location of tables that are made without one
	Prefix     string            // of all paths but that of the configuration
	Defaults   map[string]string // of the clients' configuration
	Overrides  map[string]string
	Endpoints  []string // that it says it has
	NoBranches bool     // it refuses all refs but main, as Nessie does
	// Access, if there is one, is how clients reach the files of a table. It is asked
	// when a table is made or loaded.
	Access func(r *http.Request) Access
	// Front, if there is one, gets each request first.
	Front func(http.Handler) http.Handler

	URL string // of a server that was started

	mu         sync.Mutex
	namespaces map[string]map[string]string // properties by name
	tables     map[string]*entry            // by namespace, separator and name
}

// Access is how a client reaches the files of a table.
type Access struct {
	Config      map[string]string `json:"config,omitempty"`
	Credentials []Credential      `json:"storage-credentials,omitempty"`
}

// A Credential is for locations with a prefix.
type Credential struct {
	Prefix string            `json:"prefix"`
	Config map[string]string `json:"config"`
}

// An entry is a table that the catalog knows.
type entry struct {
	location string // of its metadata file
	metadata table.Metadata
	version  int
}

// separator stands between the parts of a namespace, and between it and a name.
const separator = "\x1f"

// Start starts the server, which lasts as long as the process.
func (s *Server) Start() *Server {
	s.namespaces, s.tables = map[string]map[string]string{}, map[string]*entry{}
	root := "/v1"
	if s.Prefix != "" {
		root += "/" + s.Prefix
	}
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"GET /v1/config":                                                  s.config,
		"GET " + root + "/namespaces":                                     s.listNamespaces,
		"POST " + root + "/namespaces":                                    s.createNamespace,
		"GET " + root + "/namespaces/{namespace}":                         s.loadNamespace,
		"DELETE " + root + "/namespaces/{namespace}":                      s.dropNamespace,
		"GET " + root + "/namespaces/{namespace}/tables":                  s.listTables,
		"POST " + root + "/namespaces/{namespace}/tables":                 s.createTable,
		"GET " + root + "/namespaces/{namespace}/tables/{table}":          s.loadTable,
		"POST " + root + "/namespaces/{namespace}/tables/{table}":         s.commit,
		"DELETE " + root + "/namespaces/{namespace}/tables/{table}":       s.dropTable,
		"POST " + root + "/tables/rename":                                 s.renameTable,
		"POST " + root + "/namespaces/{namespace}/tables/{table}/metrics": func(*http.Request) (any, error) { return nil, nil },
	} {
		mux.Handle(pattern, answer(handle))
	}
	mux.Handle("/", answer(func(r *http.Request) (any, error) {
		return nil, refuse(http.StatusNotFound, "NotFoundException", "no route for %s %s", r.Method, r.URL.Path)
	}))
	var handler http.Handler = mux
	if s.Front != nil {
		handler = s.Front(handler)
	}
	s.URL = httptest.NewServer(handler).URL
	return s
}

// A Refusal is an error as the protocol has it.
type Refusal struct {
	Message string `json:"message"`
	Type    string `json:"type"`
	Code    int    `json:"code"`
}

func (r *Refusal) Error() string { return r.Message }

// Write answers a request with the refusal.
func (r *Refusal) Write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.Code)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": r}) // the client may be gone
}

func refuse(code int, kind, format string, args ...any) error {
	return &Refusal{Message: fmt.Sprintf(format, args...), Type: kind, Code: code}
}

// answer answers with a result or a refusal. No result is no content.
func answer(handle func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result, err := handle(r)
		var refusal *Refusal
		switch {
		case errors.As(err, &refusal):
			refusal.Write(w)
		case err != nil:
			(&Refusal{Message: err.Error(), Type: "InternalServerError", Code: http.StatusInternalServerError}).Write(w)
		case result == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(result) // the client may be gone
		}
	})
}

// read reads the body of a request, which must have no field that is not known.
func read(r *http.Request, body any) error {
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		return refuse(http.StatusBadRequest, "BadRequestException", "content type %q", got)
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(body); err != nil {
		return refuse(http.StatusBadRequest, "BadRequestException", "malformed request: %v", err)
	}
	return nil
}

func (s *Server) config(*http.Request) (any, error) {
	defaults, overrides := map[string]string{}, map[string]string{}
	for key, value := range s.Defaults {
		defaults[key] = value
	}
	for key, value := range s.Overrides {
		overrides[key] = value
	}
	if s.Prefix != "" {
		overrides["prefix"] = s.Prefix
	}
	answer := map[string]any{"defaults": defaults, "overrides": overrides}
	if s.Endpoints != nil {
		answer["endpoints"] = s.Endpoints
	}
	return answer, nil
}

func (s *Server) listNamespaces(r *http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := [][]string{}
	for name := range s.namespaces {
		parent := r.URL.Query().Get("parent")
		if child, below := strings.CutPrefix(name, parent+separator); parent == "" && !strings.Contains(name, separator) || below && !strings.Contains(child, separator) {
			found = append(found, strings.Split(name, separator))
		}
	}
	return map[string]any{"namespaces": found}, nil
}

func (s *Server) createNamespace(r *http.Request) (any, error) {
	var request struct {
		Namespace  []string          `json:"namespace"`
		Properties map[string]string `json:"properties"`
	}
	if err := read(r, &request); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.Join(request.Namespace, separator)
	if _, there := s.namespaces[name]; there {
		return nil, refuse(http.StatusConflict, "AlreadyExistsException", "namespace %s exists", request.Namespace)
	}
	s.namespaces[name] = request.Properties
	return map[string]any{"namespace": request.Namespace, "properties": request.Properties}, nil
}

// namespace returns the namespace of a request. s is locked.
func (s *Server) namespace(r *http.Request) (string, error) {
	name := r.PathValue("namespace")
	if _, there := s.namespaces[name]; !there {
		return "", refuse(http.StatusNotFound, "NoSuchNamespaceException", "namespace %q does not exist", name)
	}
	return name, nil
}

func (s *Server) loadNamespace(r *http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, err := s.namespace(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"namespace": strings.Split(name, separator), "properties": s.namespaces[name]}, nil
}

func (s *Server) dropNamespace(r *http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, err := s.namespace(r)
	if err != nil {
		return nil, err
	}
	for id := range s.tables {
		if strings.HasPrefix(id, name+separator) {
			return nil, refuse(http.StatusConflict, "NamespaceNotEmptyException", "namespace %q is not empty", name)
		}
	}
	delete(s.namespaces, name)
	return nil, nil
}
