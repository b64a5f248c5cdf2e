package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// controls is where the sandbox is steered from outside its process.
const controls = "/sandbox/"

// serveControls registers them:
//
//	GET  /sandbox/audit                  counts, see Audit
//	GET  /sandbox/clock                  {"now": "2026-01-01T00:00:00Z"}
//	POST /sandbox/clock                  {"advance": "24h"} or {"set": "2026-01-01T00:00:00Z"}
//	POST /sandbox/revoke                 every member withdraws every consent
//	POST /sandbox/faults                 a list of faults, see Fault
//	GET  /sandbox/scenarios              all that have a name, see Scenario
//	POST /sandbox/scenario               {"name": "…"} or a scenario of your own: see Server.Play
//	GET  /sandbox/oracle/{stream}?at=    key to record; at is the server's time if missing
//	GET  /sandbox/oracle/{stream}?since= {"upserted": …, "deleted": […]} from since to at
//
// The oracle speaks of the nth member with &member=n.
func (s *Server) serveControls() {
	s.mux.HandleFunc("GET /sandbox/audit", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, encode(s.Audit()))
	})
	s.mux.HandleFunc("GET /sandbox/clock", s.getClock)
	s.mux.HandleFunc("POST /sandbox/clock", s.moveClock)
	s.mux.HandleFunc("POST /sandbox/revoke", func(w http.ResponseWriter, _ *http.Request) {
		s.Revoke()
		w.WriteHeader(http.StatusNoContent)
	})
	s.mux.HandleFunc("POST /sandbox/faults", s.scriptFaults)
	s.mux.HandleFunc("GET /sandbox/scenarios", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, encode(Scenarios()))
	})
	s.mux.HandleFunc("POST /sandbox/scenario", s.playScenario)
	s.mux.HandleFunc("GET /sandbox/oracle/{stream}", s.askOracle)
}

func (s *Server) getClock(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, encode(map[string]time.Time{"now": s.clock.Now()}))
}

func (s *Server) moveClock(w http.ResponseWriter, r *http.Request) {
	var move struct {
		Advance string    `json:"advance"`
		Set     time.Time `json:"set"`
	}
	if err := decode(r, &move); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !move.Set.IsZero() {
		s.clock.Set(move.Set)
		s.getClock(w, r)
		return
	}
	d, err := time.ParseDuration(move.Advance)
	if err != nil {
		http.Error(w, "set or advance: "+err.Error(), http.StatusBadRequest)
		return
	}
	s.clock.Advance(d)
	s.getClock(w, r)
}

func (s *Server) scriptFaults(w http.ResponseWriter, r *http.Request) {
	var faults []Fault
	err := decode(r, &faults)
	if err == nil {
		err = checkFaults(faults)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.SetFaults(faults...)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) playScenario(w http.ResponseWriter, r *http.Request) {
	var scenario Scenario
	err := decode(r, &scenario)
	if err == nil && scenario.Name != "" {
		scenario, err = Named(scenario.Name)
	}
	if err == nil {
		err = s.Play(scenario)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) askOracle(w http.ResponseWriter, r *http.Request) {
	stream := r.PathValue("stream")
	if !slices.Contains(member.Streams, stream) {
		http.Error(w, fmt.Sprintf("no stream is called %q", stream), http.StatusNotFound)
		return
	}
	at, since := s.Now(), time.Time{}
	for name, bound := range map[string]*time.Time{"at": &at, "since": &since} {
		if text := r.URL.Query().Get(name); text != "" {
			var err error
			if *bound, err = time.Parse(time.RFC3339, text); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
	}
	n := 0
	if text := r.URL.Query().Get("member"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 0 || n >= len(s.members) {
			http.Error(w, fmt.Sprintf("there is no member %q", text), http.StatusNotFound)
			return
		}
	}
	if since.IsZero() {
		writeJSON(w, encode(s.OracleOf(n).Records(stream, at)))
		return
	}
	writeJSON(w, encode(s.OracleOf(n).Changes(stream, since, at)))
}

// decode reads a request's JSON and tolerates no field it does not know: a
// misspelt control would test nothing.
func decode(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	return d.Decode(into)
}
