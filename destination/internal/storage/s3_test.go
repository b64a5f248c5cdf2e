package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// s3At is the configuration of the storage behind an address.
func s3At(endpoint string) Config {
	var c Config
	if err := json.Unmarshal([]byte(s3test.Config(endpoint)), &c); err != nil {
		panic(err)
	}
	return c
}

func openS3(t *testing.T, front func(http.Handler) http.Handler) *Storage {
	t.Helper()
	s, err := Open(t.Context(), s3At(s3test.Start(front)), "s3://bucket/lake", "")
	if err != nil {
		t.Fatal(err)
	}
	s.files.(*s3Files).withoutPauses()
	return s
}

// withoutPauses has f repeat requests as often as ever, without the SDK's pauses of up to seconds.
func (f *s3Files) withoutPauses() {
	options := f.client.Options()
	options.Retryer = retry.AddWithMaxBackoffDelay(options.Retryer, time.Microsecond)
	f.client = s3.New(options)
}

// randomBytes are the same for the same size.
func randomBytes(size int) []byte {
	content := make([]byte, size)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(content)
	return content
}

// The sizes are around those at which parts begin and end.
func TestObjectsAreWrittenInParts(t *testing.T) {
	var parts, most atomic.Int32
	s := openS3(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s3test.Operation(r) == "UploadPart" {
				n := parts.Add(1)
				defer parts.Add(-1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
			}
			h.ServeHTTP(w, r)
		})
	})
	var files sync.WaitGroup
	for _, size := range []int{0, 1, tailBytes, tailBytes + 1, partBytes, 2*partBytes - 1, 2 * partBytes, 2*partBytes + 1, 3*partBytes + 5, 4 * partBytes} {
		files.Go(func() {
			content := randomBytes(size)
			location := fmt.Sprintf("%s/%d", s.Warehouse(), size)
			out, err := s.Files().Create(location)
			if err != nil {
				t.Error(err)
				return
			}
			for rest := content; len(rest) > 0; {
				n := min(len(rest), 1<<20)
				if _, err := out.Write(rest[:n]); err != nil {
					t.Error(err)
				}
				rest = rest[n:]
			}
			if err := out.Close(); err != nil {
				t.Error(err)
			}
			if got, err := s.Files().(iceio.ReadFileIO).ReadFile(location); err != nil || !bytes.Equal(got, content) {
				t.Errorf("of %d bytes %d came back, %v", size, len(got), err)
			}
		})
	}
	files.Wait()
	if most.Load() > maxUploads {
		t.Errorf("%d parts were uploaded at once", most.Load())
	}
	expectNoUploads(t, s)
}

func expectNoUploads(t *testing.T, s *Storage) {
	t.Helper()
	open, err := OpenUploads(t.Context(), s.Files(), "s3://"+s3test.Bucket)
	if err != nil || len(open) > 0 {
		t.Errorf("open uploads %v, %v", open, err)
	}
}

// S3 refuses a conditional write while another one of the name is under way, which is
// an attempt of this program whose answer was lost.
func TestAWriteThatMeetsItsOwnIsRepeated(t *testing.T) {
	for _, op := range []string{"PutObject", "CompleteMultipartUpload"} {
		t.Run(op, func(t *testing.T) {
			var met atomic.Bool
			s := openS3(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if s3test.Operation(r) != op || !met.CompareAndSwap(false, true) {
						h.ServeHTTP(w, r)
						return
					}
					// The attempt whose answer was lost is still under way, and then done.
					h.ServeHTTP(httptest.NewRecorder(), r)
					w.Header().Set("Content-Type", "application/xml")
					w.WriteHeader(http.StatusConflict)
					fmt.Fprint(w, "<Error><Code>ConditionalRequestConflict</Code><Message>The conditional request cannot succeed due to a conflicting operation against this resource.</Message></Error>")
				})
			})
			content := randomBytes(map[string]int{"PutObject": 10, "CompleteMultipartUpload": 2*partBytes + 7}[op])
			out, err := s.Files().Create(s.Warehouse() + "/a")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := out.Write(content); err != nil {
				t.Fatal(err)
			}
			if err := out.Close(); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Files().(iceio.ReadFileIO).ReadFile(s.Warehouse() + "/a"); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
			expectFiles(t, s, "a")
		})
	}
}

// What is gone when the request is made again does not end a run.
func TestRequestsThatMeetOthersOrBreakAreRepeated(t *testing.T) {
	for code, status := range map[string]int{"OperationAborted": 409, "ConditionalRequestConflict": 409, "IncompleteBody": 400, "BadDigest": 400, "XAmzContentSHA256Mismatch": 400, "RequestTimeout": 400} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			var refused atomic.Bool
			s := openS3(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if s3test.Operation(r) == "PutObject" && refused.CompareAndSwap(false, true) {
						s3test.Refuse(w, status, code, "Try again.")
						return
					}
					h.ServeHTTP(w, r)
				})
			})
			write(t, s, "a")
			expectFiles(t, s, "a")
			if !refused.Load() {
				t.Error("nothing was refused")
			}
		})
	}
}

// Every kind of request is cut off once, before it was done and after. What is
// written is there, once, and what is read is right.
func TestRequestsThatAreCutOffAreRepeated(t *testing.T) {
	for _, done := range []bool{false, true} {
		for _, op := range []string{"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject", "GetObject", "ListObjectsV2", "DeleteObjects", "DeleteObject"} {
			t.Run(fmt.Sprintf("%s, done %v", op, done), func(t *testing.T) {
				t.Parallel()
				var cut atomic.Bool
				s := openS3(t, func(h http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if s3test.Operation(r) != op || !cut.CompareAndSwap(false, true) {
							h.ServeHTTP(w, r)
							return
						}
						if done {
							h.ServeHTTP(httptest.NewRecorder(), r)
						}
						s3test.HangUp(w)
					})
				})
				content := randomBytes(7)
				if strings.HasSuffix(op, "MultipartUpload") || op == "UploadPart" {
					content = randomBytes(2*partBytes + 7)
				}
				large := s.Warehouse() + "/large"
				out, err := s.Files().Create(large)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := out.Write(content); err != nil {
					t.Fatal(err)
				}
				if err := out.Close(); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"/a", "/b", "/c"} {
					if err := s.Files().WriteFile(s.Warehouse()+name, []byte(name)); err != nil {
						t.Fatal(err)
					}
				}
				if got, err := s.Files().(iceio.ReadFileIO).ReadFile(large); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes came back, %v", len(got), err)
				}
				expectFiles(t, s, "a", "b", "c", "large")
				if err := s.Files().Remove(large); err != nil {
					t.Error(err)
				}
				if _, err := RemoveAll(t.Context(), s.Files(), []string{s.Warehouse() + "/a", s.Warehouse() + "/b"}); err != nil {
					t.Error(err)
				}
				expectFiles(t, s, "c")
				if !cut.Load() {
					t.Error("nothing was cut off")
				}
				if op != "CreateMultipartUpload" { // of which nobody has the id
					expectNoUploads(t, s)
				}
			})
		}
	}
}

// cutWriter writes half of a body and then ends the connection.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if len(p) < w.left {
		w.left -= len(p)
		return w.ResponseWriter.Write(p)
	}
	_, _ = w.ResponseWriter.Write(p[:w.left])
	panic(http.ErrAbortHandler)
}

func TestBodiesThatBreakOffAreReadOn(t *testing.T) {
	var gets atomic.Int32
	s := openS3(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s3test.Operation(r) == "GetObject" && gets.Add(1)%2 == 1 {
				w = &cutWriter{w, 1000}
			}
			h.ServeHTTP(w, r)
		})
	})
	content := randomBytes(5 * tailBytes)
	location := s.Warehouse() + "/file"
	if err := s.Files().WriteFile(location, content); err != nil {
		t.Fatal(err)
	}
	in, err := s.Files().Open(location)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, content) {
		t.Errorf("Read: %d bytes, %v", len(got), err)
	}
	for _, r := range [][2]int{{0, 10}, {0, len(content)}, {5000, 3 * tailBytes}, {4*tailBytes - 100, tailBytes}, {len(content) - 5, 5}} {
		got := make([]byte, r[1])
		n, err := in.ReadAt(got, int64(r[0]))
		if want := content[r[0]:min(r[0]+r[1], len(content))]; !bytes.Equal(got[:n], want) || (n == r[1] && err != nil) || (n < r[1] && !errors.Is(err, io.EOF)) {
			t.Errorf("ReadAt(%d, %d): %d bytes, %v", r[0], r[1], n, err)
		}
	}
	if _, err := in.Seek(-7, io.SeekEnd); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, content[len(content)-7:]) {
		t.Errorf("after Seek: %d bytes, %v", len(got), err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if _, err := in.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
}

func TestAFailedPartLeavesNothing(t *testing.T) {
	s := openS3(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s3test.Operation(r) == "UploadPart" && r.URL.Query().Get("partNumber") == "2" {
				_, _ = io.Copy(io.Discard, r.Body)
				s3test.Refuse(w, http.StatusForbidden, "AccessDenied", "Access Denied")
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	out, err := s.Files().Create(s.Warehouse() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	_, writeErr := out.Write(make([]byte, 3*partBytes))
	err = errors.Join(writeErr, out.Close())
	if e := Explain(err, "table a.b"); e == nil || e.Kind != protocol.ConfigError || !strings.Contains(e.Message, "s3:PutObject") || !strings.Contains(e.Message, "table a.b") {
		t.Errorf("error %v, explained %v", err, e)
	}
	expectFiles(t, s)
	expectNoUploads(t, s)
}

// An object that is given up never was one, and its parts are removed when none is under way any more.
func TestAnObjectThatIsGivenUpIsNotUploaded(t *testing.T) {
	for name, tc := range map[string]struct {
		size    int
		refused bool // to remove the parts
		want    string
	}{
		"one with nothing in it": {0, false, ""},
		"a small one":            {2*partBytes - 1, false, ""},
		"one in parts":           {3*partBytes + 5, false, "AbortMultipartUpload CreateMultipartUpload"},
		"one whose parts stay":   {2 * partBytes, true, "AbortMultipartUpload CreateMultipartUpload"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var underWay atomic.Int32
			var asked sync.Map // operations
			s := openS3(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					op := s3test.Operation(r)
					asked.Store(op, true)
					switch op {
					case "UploadPart":
						underWay.Add(1)
						defer underWay.Add(-1)
					case "AbortMultipartUpload":
						if n := underWay.Load(); n > 0 {
							t.Errorf("%d parts are under way", n)
						}
						if tc.refused {
							s3test.Refuse(w, http.StatusForbidden, "AccessDenied", "Access Denied")
							return
						}
					}
					h.ServeHTTP(w, r)
				})
			})
			location := s.Warehouse() + "/file"
			out, err := s.Files().Create(location)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := out.Write(randomBytes(tc.size)); err != nil {
				t.Fatal(err)
			}
			err = Abort(s.Files(), location, out)
			if e := Explain(err, "table a.b"); (err != nil) != tc.refused || tc.refused && !strings.Contains(e.Message, "s3:AbortMultipartUpload") {
				t.Errorf("error %v", err)
			}
			var ops []string
			asked.Range(func(op, _ any) bool {
				if op != "UploadPart" { // those that wait for their turn are not sent
					ops = append(ops, op.(string))
				}
				return true
			})
			slices.Sort(ops)
			if got := strings.Join(ops, " "); got != tc.want {
				t.Errorf("requests %q, want %q", got, tc.want)
			}
			if expectFiles(t, s); !tc.refused {
				expectNoUploads(t, s)
			}
		})
	}
}

// Some compatible services know neither.
func TestServicesWithoutConditionsAndBulkDeletes(t *testing.T) {
	s := openS3(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") != "" || s3test.Operation(r) == "DeleteObjects" {
				s3test.Refuse(w, http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented")
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	locations := write(t, s, "a", "b", "c")
	expectFiles(t, s, "a", "b", "c")
	if removed, err := RemoveAll(t.Context(), s.Files(), locations[:2]); err != nil || len(removed) != 2 {
		t.Errorf("removed %v, %v", removed, err)
	}
	expectFiles(t, s, "c")
}

func TestBulkDeletesSayWhatTheyLeft(t *testing.T) {
	s := openS3(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s3test.Operation(r) == "DeleteObjects" {
				_, _ = io.WriteString(w, `<DeleteResult><Error><Key>lake/b</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error></DeleteResult>`)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	locations := write(t, s, "a", "b", "c")
	removed, err := RemoveAll(t.Context(), s.Files(), locations)
	if want := []string{locations[0], locations[2]}; fmt.Sprint(removed) != fmt.Sprint(want) {
		t.Errorf("removed %v", removed)
	}
	if e := Explain(err, "table a.b"); e == nil || !strings.Contains(e.Message, "s3:DeleteObject") {
		t.Errorf("error %v, explained %v", err, e)
	}
}

func TestS3ConfigurationsThatAreWrong(t *testing.T) {
	for _, tc := range []struct{ config, warehouse, says string }{
		{`{}`, "file:///lake", `"warehouse"`},
		{`{}`, "s3://", `"warehouse"`},
		{`{}`, "s3://bucket/lake/", `"warehouse"`},
		{`{}`, "s3://bucket//lake", `"warehouse"`},
		{`{}`, "s3a://bucket/lake", `"warehouse"`},
		{`{}`, "s3://bucket/l ake", `"warehouse"`},
		{`{}`, "s3://bucket/lake?x", `"warehouse"`},
		{`{"access_key_id": "a"}`, "s3://bucket/lake", `"storage.secret_access_key"`},
		{`{"session_token": "a"}`, "s3://bucket/lake", `"storage.access_key_id"`},
		{`{"external_id": "a"}`, "s3://bucket/lake", `"storage.role_arn"`},
		{`{"profile": "a", "access_key_id": "a", "secret_access_key": "b"}`, "s3://bucket/lake", `"storage.profile"`},
		{`{"access_key_id": "a\n", "secret_access_key": "b"}`, "s3://bucket/lake", `"storage.access_key_id"`},
		{`{"access_key_id": "a", "secret_access_key": "b", "session_token": "c\r\n"}`, "s3://bucket/lake", `"storage.session_token"`},
		{`{"endpoint": "localhost:9000"}`, "s3://bucket/lake", `"storage.endpoint"`},
		{`{"kms_key_id": "a"}`, "s3://bucket/lake", `"storage.encryption"`},
	} {
		c := Config{Type: "s3"}
		if err := json.Unmarshal([]byte(tc.config), &c); err != nil {
			t.Fatal(err)
		}
		var e *protocol.Error
		if err := c.Validate(tc.warehouse); !errors.As(err, &e) || e.Kind != protocol.ConfigError || !strings.Contains(e.Message, tc.says) {
			t.Errorf("%s at %s: %v", tc.config, tc.warehouse, err)
		}
	}
	for _, warehouse := range []string{"s3://bucket", "s3://bucket/lake", "s3://my.bucket/a/b-c_d"} {
		c := Config{Type: "s3"}
		if err := c.Validate(warehouse); err != nil {
			t.Error(err)
		}
	}
}
