package main

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
)

// s3Objects are the files of a testLake, in an S3 to which faults cut the connection.
type s3Objects struct {
	server *s3test.Server
	faults atomic.Pointer[faults] // of the run under way; nil: none
	saved  map[string]map[string][]byte
}

func newS3Objects() *s3Objects {
	s := &s3Objects{saved: map[string]map[string][]byte{}}
	s.server = s3test.NewServer(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// A connection that is kept would keep time from passing in a bubble.
			w.Header().Set("Connection", "close")
			e := noFault
			if f := s.faults.Load(); f != nil {
				e = f.request(r.Header.Get("Amz-Sdk-Invocation-Id"), s3test.Operation(r))
			}
			switch e {
			case failBefore:
				s3test.HangUp(w)
			case failAfter:
				h.ServeHTTP(httptest.NewRecorder(), r)
				s3test.HangUp(w)
			default:
				h.ServeHTTP(w, r)
			}
		})
	})
	return s
}

// copy does for the objects what was done for their directories, of which one is in use.
func (s *s3Objects) copy(to, from, used string) error {
	if from == used {
		objects, err := s.server.Objects()
		s.saved[to] = objects
		return err
	}
	return s.server.SetObjects(maps.Clone(s.saved[from]))
}
