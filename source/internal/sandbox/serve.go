package sandbox

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP answers as WHOOP would, unless a fault strikes. The sandbox's own
// controls are beyond the reach of faults and profiles.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, controls) {
		s.mux.ServeHTTP(w, r)
		return
	}
	s.clock.Advance(time.Duration(s.Profile().Tick))
	_, route := s.mux.Handler(r)
	f := s.script.next(r)
	s.audit.count(func(a *Audit) {
		if route == "" {
			route = "unknown"
		}
		a.Requests[route]++
		if f != nil {
			a.Faults++
		}
	})
	w.Header().Set("Date", s.Now().Format(http.TimeFormat))
	if f != nil {
		f.strike(w, r, s.answer)
		return
	}
	given := s.answer(r)
	given.send(w)
}

// An answer is a response that has not been sent.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// announce sends all but the body.
func (a *answer) announce(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	if _, set := a.header["Content-Length"]; !set && a.status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(a.body.Len()))
	}
	w.WriteHeader(a.status)
}

func (a *answer) send(w http.ResponseWriter) {
	a.announce(w)
	w.Write(a.body.Bytes()) //nolint:errcheck // the client went away
}

// answer is what WHOOP says to a request.
func (s *Server) answer(r *http.Request) *answer {
	a := &answer{header: http.Header{}, status: http.StatusOK}
	p := s.Profile()
	if p.DefaultAgentsBlocked && isDefaultAgent(r.UserAgent()) {
		a.replace(http.StatusForbidden, "text/html; charset=UTF-8", cloudflarePage(http.StatusForbidden, "Sorry, you have been blocked"))
		a.header.Set("Server", "cloudflare")
		return a
	}
	s.mux.ServeHTTP(a, r)
	a.header.Del("Content-Length") // what follows may change it
	if strings.HasPrefix(r.URL.Path, "/developer/") && a.status >= http.StatusBadRequest {
		a.explain(p.ErrorBodies)
	}
	if p.Gzip && a.body.Len() > 0 && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		a.compress()
	}
	return a
}

// explain puts a body of some form into the answer to a failed request.
func (a *answer) explain(as ErrorBodies) {
	reason := http.StatusText(a.status)
	switch as {
	case ErrorBodiesEmpty:
		a.replace(a.status, "", "")
	case ErrorBodiesText:
		a.replace(a.status, "text/plain;charset=UTF-8", reason)
	case ErrorBodiesJSON:
		a.replace(a.status, "application/json", fmt.Sprintf(`{"code":%d,"message":%q}`, a.status, reason))
	case ErrorBodiesHTML:
		a.replace(a.status, "text/html", "<html><body><h1>"+reason+"</h1></body></html>")
	}
}

func (a *answer) replace(status int, contentType, body string) {
	a.status = status
	a.header.Del("Content-Type")
	if contentType != "" {
		a.header.Set("Content-Type", contentType)
	}
	a.body.Reset()
	a.body.WriteString(body)
}

func (a *answer) compress() {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(a.body.Bytes()) //nolint:errcheck // a buffer takes everything
	z.Close()               //nolint:errcheck // a buffer takes everything
	a.header.Set("Content-Encoding", "gzip")
	a.body = packed
}

// isDefaultAgent reports whether a client left the User-Agent to its library.
func isDefaultAgent(agent string) bool {
	return agent == "" || slices.ContainsFunc([]string{"Go-http-client", "Python-urllib", "python-requests", "curl", "okhttp", "axios", "node"},
		func(library string) bool { return strings.HasPrefix(agent, library) })
}

// cloudflarePage looks like what stands in front of WHOOP.
func cloudflarePage(status int, title string) string {
	return fmt.Sprintf("<!DOCTYPE html>\n<html lang=\"en-US\"><head><title>%s | api.prod.whoop.com | Cloudflare</title></head>"+
		"<body><h1>Error %d</h1><p>%s</p><p>Cloudflare Ray ID: <strong>8f2b6c1d9e0a4b7c</strong></p></body></html>\n", title, status, title)
}
