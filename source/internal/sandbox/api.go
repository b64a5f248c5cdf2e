package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// serveAPI registers the operations of the developer API. Paths that are not
// here answer 404 before the token is looked at, as WHOOP does; WHOOP documents
// no error bodies, and real ones are often empty.
func (s *Server) serveAPI() {
	for _, o := range []struct {
		pattern, scope string
		serve          operation
	}{
		{"GET /developer/v2/user/profile/basic", "read:profile", s.getProfile},
		{"GET /developer/v2/user/measurement/body", "read:body_measurement", s.getBody},
		{"DELETE /developer/v2/user/access", "", s.revokeAccess},
		{"GET /developer/v2/cycle", "read:cycles", s.getCollection(member.Cycles)},
		{"GET /developer/v2/cycle/{cycleId}", "read:cycles", s.getByID(member.Cycles, "cycleId", isInt64)},
		{"GET /developer/v2/cycle/{cycleId}/sleep", "read:sleep", s.getCycleSleep},
		{"GET /developer/v2/cycle/{cycleId}/recovery", "read:recovery", s.getByID(member.Recoveries, "cycleId", isInt64)},
		{"GET /developer/v2/recovery", "read:recovery", s.getCollection(member.Recoveries)},
		{"GET /developer/v2/activity/sleep", "read:sleep", s.getCollection(member.Sleeps)},
		{"GET /developer/v2/activity/sleep/{sleepId}", "read:sleep", s.getByID(member.Sleeps, "sleepId", isUUID)},
		{"GET /developer/v2/activity/workout", "read:workout", s.getCollection(member.Workouts)},
		{"GET /developer/v2/activity/workout/{workoutId}", "read:workout", s.getByID(member.Workouts, "workoutId", isUUID)},
	} {
		s.mux.HandleFunc(o.pattern, s.authorized(o.scope, o.serve))
	}
	// The mapping has no security in WHOOP's specification, so nobody to charge.
	s.mux.HandleFunc("GET /developer/v1/activity-mapping/{activityV1Id}", s.getMapping)
}

// An operation serves a request for the data of a member.
type operation func(http.ResponseWriter, *http.Request, *member.Member)

// authorized admits requests with a live token that holds the scope, within the
// rate limits. A missing scope looks the same as a bad token, unless the profile
// says otherwise: the specification knows no 403.
func (s *Server) authorized(scope string, serve operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		pair, live := s.grants.find(token, s.Now())
		if !live {
			s.audit.count(func(a *Audit) {
				if pair == nil {
					a.UnknownTokens++
				} else {
					a.DeadTokens++
				}
			})
			unauthorized(w)
			return
		}
		if !s.admit(w) {
			return
		}
		if !pair.holds(scope) {
			s.audit.count(func(a *Audit) { a.MissingScopes++ })
			if s.Profile().MissingScopeForbidden {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			unauthorized(w)
			return
		}
		serve(w, r, pair.grant.member)
	}
}

// admit counts a request against the rate limits and answers it if they are
// reached.
func (s *Server) admit(w http.ResponseWriter) bool {
	if s.limits.take(w.Header(), s.Profile()) {
		return true
	}
	s.audit.count(func(a *Audit) { a.RateLimited++ })
	w.WriteHeader(http.StatusTooManyRequests)
	return false
}

func unauthorized(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	w.WriteHeader(http.StatusUnauthorized)
	io.WriteString(w, "Authorization was not valid") //nolint:errcheck // the client went away
}

func (s *Server) getProfile(w http.ResponseWriter, _ *http.Request, m *member.Member) {
	writeJSON(w, m.Encode(m.Person(), s.Now()))
}

func (s *Server) getBody(w http.ResponseWriter, _ *http.Request, m *member.Member) {
	now := s.Now()
	body, ok := m.Body(now)
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	writeJSON(w, m.Encode(body, now))
}

func (s *Server) revokeAccess(w http.ResponseWriter, _ *http.Request, m *member.Member) {
	now := s.Now()
	s.grants.withdraw(m, now, now)
	w.WriteHeader(http.StatusNoContent)
}

// getByID serves the record of a kind whose key is in the path.
func (s *Server) getByID(k member.Kind, param string, valid func(string) bool) operation {
	return func(w http.ResponseWriter, r *http.Request, m *member.Member) {
		key := r.PathValue(param)
		if !valid(key) {
			http.Error(w, param+" is malformed", http.StatusBadRequest)
			return
		}
		now := s.Now()
		writeVersion(w, m, m.Find(k, key, now), now)
	}
}

func (s *Server) getCycleSleep(w http.ResponseWriter, r *http.Request, m *member.Member) {
	key := r.PathValue("cycleId")
	if !isInt64(key) {
		http.Error(w, "cycleId is malformed", http.StatusBadRequest)
		return
	}
	now := s.Now()
	writeVersion(w, m, m.SleepFor(key, now), now)
}

func (s *Server) getMapping(w http.ResponseWriter, r *http.Request) {
	v1, err := strconv.ParseInt(r.PathValue("activityV1Id"), 10, 64)
	for _, m := range s.members {
		if id, ok := m.Mapped(v1, s.Now()); ok && err == nil {
			writeJSON(w, encode(map[string]string{"v2_activity_id": id}))
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
}

func isInt64(text string) bool {
	_, err := strconv.ParseInt(text, 10, 64)
	return err == nil
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func isUUID(text string) bool { return uuidForm.MatchString(text) }

// writeVersion answers with a record, or 404 if there is none.
func writeVersion(w http.ResponseWriter, m *member.Member, v *member.Version, now time.Time) {
	if v == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	writeJSON(w, m.EncodeVersion(v, now))
}

func writeJSON(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) //nolint:errcheck // the client went away
}

// encode panics on what cannot be JSON, because all values are ours.
func encode(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("sandbox: encoding %T: %v", v, err))
	}
	return text
}
