package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// An Action is what a fault does to an answer.
type Action string

const (
	Replace  Action = "replace"  // Status, Header and Body stand in for the server's answer
	Alter    Action = "alter"    // the server's answer with Header set; a header set to "" is removed
	Truncate Action = "truncate" // the server's answer ends after Bytes, with a Content-Length to match
	Cut      Action = "cut"      // the connection closes after Bytes of the server's answer
	Drip     Action = "drip"     // the server's answer comes in pieces of Bytes (0: 1), each after Delay
	Garble   Action = "garble"   // the first text after Bytes of the server's answer is not UTF-8
	Reset    Action = "reset"    // the connection is reset before an answer
	Hang     Action = "hang"     // nothing comes until the client gives up
)

// A Fault strikes requests that match it. The zero value of a field matches
// everything; an empty Action lets the server answer, after Delay. In JSON,
// fields may be left out.
//
// HTTP/2 needs no action of its own: Alter with "Connection: close" is a GOAWAY
// there, Cut and Reset are an RST_STREAM.
type Fault struct {
	Method string `json:"method,omitzero"` // exact
	Path   string `json:"path,omitzero"`   // prefix
	Query  string `json:"query,omitzero"`  // name of a parameter that the request has
	Skip   int    `json:"skip,omitzero"`   // matching requests that pass unharmed first
	Times  int    `json:"times,omitzero"`  // requests to strike; 0: one, negative: all that follow

	Action Action            `json:"action,omitzero"`
	Delay  time.Duration     `json:"-"`               // of the machine's time; in JSON, "delay" as a Duration
	Status int               `json:"status,omitzero"` // 0: 200
	Header map[string]string `json:"header,omitzero"`
	Body   string            `json:"body,omitzero"`
	Bytes  int               `json:"bytes,omitzero"`
	// Served lets the server do its work before Replace, Reset or Hang keep the
	// answer from the client: a refresh has happened, but nobody knows.
	Served bool `json:"served,omitzero"`
}

// faultJSON is a Fault with its delay as text.
type faultJSON struct {
	plainFault
	Delay member.Duration `json:"delay,omitzero"`
}

type plainFault Fault

// MarshalJSON writes the delay as text.
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(faultJSON{plainFault(f), member.Duration(f.Delay)})
}

// UnmarshalJSON refuses fields that a fault does not have.
func (f *Fault) UnmarshalJSON(text []byte) error {
	var read faultJSON
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&read)
	*f = Fault(read.plainFault)
	f.Delay = time.Duration(read.Delay)
	return err
}

// A script is the list of faults in force. Each request takes the first that
// matches and is not used up.
type script struct {
	mu     sync.Mutex
	faults []*scripted
}

type scripted struct {
	Fault
	seen, injected int
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

func checkFaults(faults []Fault) error {
	for i, f := range faults {
		if !slices.Contains([]Action{"", Replace, Alter, Truncate, Cut, Drip, Garble, Reset, Hang}, f.Action) {
			return fmt.Errorf("fault %d: no action is called %q", i, f.Action)
		}
	}
	return nil
}

// next returns the fault that strikes a request, or nil.
func (s *script) next(r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if !f.matches(r) {
			continue
		}
		if f.seen++; f.seen <= f.Skip || f.Times >= 0 && f.injected >= max(f.Times, 1) {
			continue
		}
		f.injected++
		return &f.Fault
	}
	return nil
}

func (f *Fault) matches(r *http.Request) bool {
	return (f.Method == "" || f.Method == r.Method) && strings.HasPrefix(r.URL.Path, f.Path) &&
		(f.Query == "" || r.URL.Query().Has(f.Query))
}

func (f *Fault) strike(w http.ResponseWriter, r *http.Request, server func(*http.Request) *answer) {
	// A server notices that a client went away only after it read the request.
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(sent))
	if f.Action != Drip {
		f.wait(r)
	}
	given := &answer{header: http.Header{}, status: http.StatusOK}
	withheld := f.Action == Replace || f.Action == Reset || f.Action == Hang
	if f.Served || !withheld {
		given = server(r)
	}
	whole := given.body.Bytes()
	switch f.Action {
	case Reset:
		reset(w)
	case Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case Replace:
		given = &answer{header: http.Header{}, status: f.Status}
		if given.status == 0 {
			given.status = http.StatusOK
		}
		given.body.WriteString(f.Body)
	case Truncate:
		given.body.Truncate(min(f.Bytes, given.body.Len()))
	case Garble:
		from := min(f.Bytes, len(whole))
		if i := bytes.Index(whole[from:], []byte(`":"`)); i >= 0 {
			whole[from+i+len(`":"`)] = 0xff
		}
	case Cut:
		given.header.Set("Content-Length", strconv.Itoa(len(whole)))
		given.body.Truncate(min(f.Bytes, len(whole)))
	}
	for name, value := range f.Header {
		given.header.Set(name, value)
		if value == "" {
			given.header[http.CanonicalHeaderKey(name)] = nil // what is only missing, net/http may add
		}
	}
	switch f.Action {
	case Drip:
		f.drip(w, r, given)
	case Cut:
		given.send(w)
		http.NewResponseController(w).Flush() //nolint:errcheck // the connection ends here anyway
		panic(http.ErrAbortHandler)
	default:
		given.send(w)
	}
}

func (f *Fault) wait(r *http.Request) {
	select {
	case <-time.After(f.Delay):
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

func (f *Fault) drip(w http.ResponseWriter, r *http.Request, given *answer) {
	given.announce(w)
	for piece := range slices.Chunk(given.body.Bytes(), max(f.Bytes, 1)) {
		f.wait(r)
		w.Write(piece)                        //nolint:errcheck // the client went away
		http.NewResponseController(w).Flush() //nolint:errcheck // not every transport has something to flush
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
