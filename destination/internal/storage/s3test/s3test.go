// Package s3test is an S3 server in the process of a test.
package s3test

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// What the machine says of AWS is not for tests. With AWS_CA_BUNDLE alone, each client
// that is opened parses a hundred certificates, and keeps them.
func init() {
	settings := map[string]string{"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if _, ok := settings[name]; strings.HasPrefix(name, "AWS_") && !ok {
			settings[name] = ""
		}
	}
	for name, value := range settings {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
}

// Bucket is the bucket that a server holds.
const Bucket = "bucket"

// Start starts a [Server] and returns its address.
func Start(front func(http.Handler) http.Handler) (endpoint string) { return NewServer(front).URL }

// A Server lasts as long as the process. Its clock is that of its client, as the
// last request had it.
type Server struct {
	URL     string
	backend *s3mem.Backend
	clock   *clientsClock
}

// NewServer starts a server. Each request goes through front first, if there is one.
func NewServer(front func(http.Handler) http.Handler) *Server {
	clock := &clientsClock{}
	backend := s3mem.New(s3mem.WithTimeSource(clock))
	if err := backend.CreateBucket(Bucket); err != nil {
		panic(err)
	}
	handler := clock.follow(gofakes3.New(backend, gofakes3.WithTimeSource(clock)).Server())
	noUploads(handler)
	if front != nil {
		handler = front(handler)
	}
	return &Server{httptest.NewServer(handler).URL, backend, clock}
}

// Objects are the contents of all objects, by their keys.
func (s *Server) Objects() (map[string][]byte, error) {
	listed, err := s.backend.ListBucket(Bucket, nil, gofakes3.ListBucketPage{})
	if err != nil {
		return nil, err
	}
	objects := map[string][]byte{}
	for _, o := range listed.Contents {
		found, err := s.backend.GetObject(Bucket, o.Key, nil)
		if err != nil {
			return nil, err
		}
		if objects[o.Key], err = io.ReadAll(found.Contents); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// SetObjects makes these all objects there are. They are very old.
func (s *Server) SetObjects(objects map[string][]byte) error {
	before, err := s.Objects()
	if err != nil {
		return err
	}
	for key := range before {
		if _, err := s.backend.DeleteObject(Bucket, key); err != nil {
			return err
		}
	}
	s.clock.unix.Store(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
	for key, content := range objects {
		if _, err := s.backend.PutObject(Bucket, key, map[string]string{}, bytes.NewReader(content), int64(len(content)), nil); err != nil {
			return err
		}
	}
	return nil
}

// noUploads begins an upload and aborts it: of a bucket in which there never was
// one, the server says that it does not exist.
func noUploads(handler http.Handler) {
	began := httptest.NewRecorder()
	handler.ServeHTTP(began, httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/"+Bucket+"/none?uploads", http.NoBody))
	var upload struct{ UploadId string }
	if err := xml.NewDecoder(began.Body).Decode(&upload); err != nil {
		panic(err)
	}
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(context.Background(), http.MethodDelete, "/"+Bucket+"/none?uploadId="+upload.UploadId, http.NoBody))
}

// clientsClock is the time of the last request.
type clientsClock struct{ unix atomic.Int64 }

const amzDate = "20060102T150405Z"

func (c *clientsClock) follow(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if at, err := time.Parse(amzDate, r.Header.Get("X-Amz-Date")); err == nil {
			c.unix.Store(at.Unix())
		}
		h.ServeHTTP(w, r)
	})
}

func (c *clientsClock) Now() time.Time { return time.Unix(c.unix.Load(), 0).UTC() }

func (c *clientsClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Config is the configuration of the storage behind an address, as JSON.
func Config(endpoint string) string {
	return fmt.Sprintf(`{"type":"s3","endpoint":%q,"path_style":true,"access_key_id":"key","secret_access_key":"sesame","region":"us-east-1"}`, endpoint)
}

// Operation names what a request asks for, as AWS does.
func Operation(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPost && q.Has("uploadId"):
		return "CompleteMultipartUpload"
	case r.Method == http.MethodPost && q.Has("delete"):
		return "DeleteObjects"
	case r.Method == http.MethodPut && q.Has("uploadId"):
		return "UploadPart"
	case r.Method == http.MethodPut:
		return "PutObject"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "AbortMultipartUpload"
	case r.Method == http.MethodDelete:
		return "DeleteObject"
	case r.Method == http.MethodHead:
		return "HeadObject"
	case q.Get("list-type") == "2":
		return "ListObjectsV2"
	case q.Has("uploads"):
		return "ListMultipartUploads"
	}
	return "GetObject"
}

// Refuse answers as S3 does when it does not do what is asked.
func Refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: message})
}

// HangUp ends the connection of a request without an answer.
func HangUp(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_ = conn.Close()
}

// BeginUpload begins to write an object in parts, and leaves it at that.
func BeginUpload(endpoint, key string, at time.Time) error {
	_, err := ask(http.MethodPost, endpoint+"/"+Bucket+"/"+key+"?uploads", at)
	return err
}

// Uploads are the keys of the objects that were begun, and neither completed nor
// aborted.
func Uploads(endpoint string) (keys []string, err error) {
	answer, err := ask(http.MethodGet, endpoint+"/"+Bucket+"?uploads", time.Now())
	if err != nil {
		return nil, err
	}
	var listed struct {
		Upload []struct{ Key string }
	}
	if err := xml.Unmarshal(answer, &listed); err != nil {
		return nil, err
	}
	for _, u := range listed.Upload {
		keys = append(keys, u.Key)
	}
	return keys, nil
}

func ask(method, url string, at time.Time) (answer []byte, err error) {
	request, err := http.NewRequestWithContext(context.Background(), method, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Amz-Date", at.UTC().Format(amzDate))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", method, url, response.Status)
	}
	return answer, err
}
