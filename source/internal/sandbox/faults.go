package sandbox

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An Action is what a fault does to an answer.
type Action string

const (
	Replace  Action = "replace"  // Status, Header and Body stand in for the server's answer
	Alter    Action = "alter"    // the server's answer with Header set; a header set to "" is removed
	Truncate Action = "truncate" // the server's answer ends after Bytes, with a Content-Length to match
	Cut      Action = "cut"      // the connection closes after Bytes of the server's answer
	Reset    Action = "reset"    // the connection is reset before an answer
	Hang     Action = "hang"     // nothing comes until the client gives up
)

// A Fault strikes requests that match it. The zero value of a field matches
// everything; an empty Action lets the server answer, after Delay.
type Fault struct {
	Method string `json:"method"` // exact
	Path   string `json:"path"`   // prefix
	Skip   int    `json:"skip"`   // matching requests that pass unharmed first
	Times  int    `json:"times"`  // requests to strike; 0: one, negative: all that follow

	Action Action            `json:"action"`
	Delay  time.Duration     `json:"-"`
	Status int               `json:"status"` // 0: 200
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`
	Bytes  int               `json:"bytes"`
	// Served lets the server do its work before Replace, Reset or Hang keep the
	// answer from the client: a refresh has happened, but nobody knows.
	Served bool `json:"served"`
}

// A script is the list of faults in force. Each request takes the first that
// matches and is not used up.
type script struct {
	mu     sync.Mutex
	faults []*scripted
}

type scripted struct {
	Fault
	seen, struck int
}

// SetFaults replaces the script. Faults of the old one that are under way end as
// they began.
func (s *Server) SetFaults(faults ...Fault) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	s.script.faults = nil
	for _, f := range faults {
		s.script.faults = append(s.script.faults, &scripted{Fault: f})
	}
}

// next returns the fault that strikes a request, or nil.
func (s *script) next(r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Method != "" && f.Method != r.Method || !strings.HasPrefix(r.URL.Path, f.Path) {
			continue
		}
		if f.seen++; f.seen <= f.Skip || f.Times >= 0 && f.struck >= max(f.Times, 1) {
			continue
		}
		f.struck++
		return &f.Fault
	}
	return nil
}

// ServeHTTP answers as WHOOP would, unless a fault strikes. The sandbox's own
// controls are beyond the reach of faults.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, controls) {
		s.mux.ServeHTTP(w, r)
		return
	}
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
	if f == nil {
		s.mux.ServeHTTP(w, r)
		return
	}
	f.strike(w, r, s.mux)
}

func (f *Fault) strike(w http.ResponseWriter, r *http.Request, server http.Handler) {
	// A server notices that a client went away only after it read the request.
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(sent))
	select {
	case <-time.After(f.Delay):
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
	given := answer{header: http.Header{}, status: http.StatusOK}
	withheld := f.Action == Replace || f.Action == Reset || f.Action == Hang
	if f.Served || !withheld {
		server.ServeHTTP(&given, r)
	}
	switch f.Action {
	case Reset:
		reset(w)
	case Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case Replace:
		given = answer{header: http.Header{}, status: f.Status}
		if given.status == 0 {
			given.status = http.StatusOK
		}
		given.body.WriteString(f.Body)
	case Truncate:
		given.body.Truncate(min(f.Bytes, given.body.Len()))
	}
	h := w.Header()
	for name, values := range given.header {
		h[name] = values
	}
	h.Set("Content-Length", strconv.Itoa(given.body.Len()))
	for name, value := range f.Header {
		h.Set(name, value)
		if value == "" {
			h.Del(name)
		}
	}
	if given.status == http.StatusNoContent {
		h.Del("Content-Length")
	}
	w.WriteHeader(given.status)
	body := given.body.Bytes()
	if f.Action == Cut {
		body = body[:min(f.Bytes, len(body))]
	}
	w.Write(body) //nolint:errcheck // the client went away
	if f.Action == Cut {
		http.NewResponseController(w).Flush() //nolint:errcheck // the connection ends here anyway
		panic(http.ErrAbortHandler)
	}
}

// reset ends the connection with a TCP reset where it can, else it just ends it.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // then it is closed without a reset
	}
	conn.Close() //nolint:errcheck // nothing was written
	panic(http.ErrAbortHandler)
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
