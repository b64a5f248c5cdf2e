// Package s3test is an S3 server in the process of a test.
package s3test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Bucket is the bucket that a server holds.
const Bucket = "bucket"

// Start starts a server, which lasts as long as the process, and returns its
// address. Each request goes through front first, if there is one.
func Start(front func(http.Handler) http.Handler) (endpoint string) {
	backend := s3mem.New()
	if err := backend.CreateBucket(Bucket); err != nil {
		panic(err)
	}
	handler := gofakes3.New(backend).Server()
	if front != nil {
		handler = front(handler)
	}
	return httptest.NewServer(handler).URL
}

// Config is the configuration of the storage behind an address, as JSON.
func Config(endpoint string) string {
	return fmt.Sprintf(`{"type":"s3","endpoint":%q,"path_style":true,"access_key_id":"key","secret_access_key":"sesame","region":"us-east-1"}`, endpoint)
}
