package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// vendedRole is the role whose sessions a catalog gives to others.
const vendedRole = "arn:aws:iam::123456789012:role/vended"

// MotoWithSessions is Moto that lets in only those who sign with a key that it has given: its own user, and sessions of a
// role. What it does not do of sessions is done before it. The credentials of a session are good for some requests, or
// without end if that is 0.
func (p Programs) MotoWithSessions(requests int) func(context.Context) (*Server, error) {
	return func(ctx context.Context) (*Server, error) {
		sessions := &sessions{requests: requests, given: map[string]*session{}}
		s, err := p.moto(ctx, func(string) func(http.Handler) http.Handler { return sessions.intercept })
		if err != nil {
			return nil, err
		}
		s.sessions, s.role = sessions, vendedRole
		if err := s.requireKeys(ctx); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
		return s, nil
	}
}

// requireKeys makes a user and a role that may do everything, and has Moto check from then on who asks.
func (s *Server) requireKeys(ctx context.Context) error {
	const all = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","sts:AssumeRole"],"Resource":"*"}]}`
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`
	var key struct {
		ID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	for _, action := range []url.Values{
		{"Action": {"CreateRole"}, "RoleName": {"vended"}, "AssumeRolePolicyDocument": {trust}},
		{"Action": {"PutRolePolicy"}, "RoleName": {"vended"}, "PolicyName": {"all"}, "PolicyDocument": {all}},
		{"Action": {"CreateUser"}, "UserName": {"owner"}},
		{"Action": {"PutUserPolicy"}, "UserName": {"owner"}, "PolicyName": {"all"}, "PolicyDocument": {all}},
		{"Action": {"CreateAccessKey"}, "UserName": {"owner"}},
	} {
		action.Set("Version", "2010-05-08")
		answer, err := s.post(ctx, "/", "application/x-www-form-urlencoded", action.Encode())
		if err != nil {
			return err
		}
		if action.Get("Action") == "CreateAccessKey" {
			if err := xml.Unmarshal(answer, &key); err != nil {
				return err
			}
		}
	}
	s.accessKeyID, s.secretAccessKey = key.ID, key.Secret
	_, err := s.post(ctx, "/moto-api/reset-auth", "text/plain", "0") // so many more requests are not checked
	return err
}

// post sends something to Moto, as a request to IAM if it is for a service.
func (s *Server) post(ctx context.Context, path, contentType, body string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Endpoint+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=nobody/20260101/"+Region+"/iam/aws4_request")
	answer, err := direct.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("moto answers %s: %s", answer.Status, text)
	}
	return text, err
}

// sessions do what Moto leaves out of temporary credentials: the policy of a session narrows what they allow, and they come
// to an end. It is counted in requests and not in time, so that it does not depend on how fast the machine is.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session.
type sessions struct {
	requests int // for which credentials are good; 0: all
	lock     sync.Mutex
	given    map[string]*session // by access key
}

// A session is one of a role.
type session struct {
	Statement []statement
	used      int
}

// A statement of a policy allows something.
type statement struct {
	Effect    string
	Action    oneOrMore
	Resource  oneOrMore
	Condition map[string]map[string]oneOrMore
}

type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(o))
}

// match reports whether a text is one of the patterns.
func (o oneOrMore) match(text string) bool {
	return slices.ContainsFunc(o, func(pattern string) bool {
		return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$").MatchString(text)
	})
}

// SessionsEnded is how many sessions have come to an end.
func (s *Server) SessionsEnded() (n int) {
	s.sessions.lock.Lock()
	defer s.sessions.lock.Unlock()
	for session := range maps.Values(s.sessions.given) {
		if session.used > s.sessions.requests {
			n++
		}
	}
	return n
}

func (s *sessions) intercept(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/" {
			s.assumeRole(w, r, next)
			return
		}
		_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		key, _, _ := strings.Cut(scope, "/")
		s.lock.Lock()
		of, ended := s.given[key], false
		if of != nil {
			of.used++
			ended = s.requests > 0 && of.used > s.requests
		}
		s.lock.Unlock()
		switch {
		case ended:
			refuse(w, http.StatusBadRequest, "ExpiredToken", "The provided token has expired.")
		case of != nil && !of.allows(r):
			refuse(w, http.StatusForbidden, "AccessDenied", "Access Denied")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// expiration is told as later than Moto says: Nessie refuses a session that does not last for an hour from when it gets the
// answer, which can take some seconds.
var expiration = regexp.MustCompile("<Expiration>.*</Expiration>")

// assumeRole has Moto do what it is asked, and remembers the session that it makes.
func (s *sessions) assumeRole(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, r)
	if asked, err := url.ParseQuery(string(body)); err == nil && asked.Get("Action") == "AssumeRole" && answer.Code == http.StatusOK {
		var made struct {
			Key string `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
		}
		of := &session{}
		if err := errors.Join(xml.Unmarshal(answer.Body.Bytes(), &made), json.Unmarshal([]byte(asked.Get("Policy")), of)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		s.lock.Lock()
		s.given[made.Key] = of
		s.lock.Unlock()
	}
	maps.Copy(w.Header(), answer.Header())
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.Code)
	_, _ = w.Write(expiration.ReplaceAll(answer.Body.Bytes(), []byte("<Expiration>"+time.Now().Add(2*time.Hour).UTC().Format(time.RFC3339)+"</Expiration>")))
}

// allows reports whether the session's policy allows a request to S3.
func (s *session) allows(r *http.Request) bool {
	query, path := r.URL.Query(), strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case query.Has("delete"):
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return false
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var objects struct {
			Key []string `xml:"Object>Key"`
		}
		return xml.Unmarshal(body, &objects) == nil && !slices.ContainsFunc(objects.Key, func(key string) bool {
			return !s.allow("s3:DeleteObject", path+"/"+key, "")
		})
	case query.Get("list-type") == "2":
		return s.allow("s3:ListBucket", path, query.Get("prefix"))
	case r.Method == http.MethodGet && query.Has("uploads"):
		return s.allow("s3:ListBucketMultipartUploads", path, query.Get("prefix"))
	case r.Method == http.MethodDelete && query.Has("uploadId"):
		return s.allow("s3:AbortMultipartUpload", path, "")
	case r.Method == http.MethodDelete:
		return s.allow("s3:DeleteObject", path, "")
	case r.Method == http.MethodPut, r.Method == http.MethodPost:
		return s.allow("s3:PutObject", path, "")
	}
	return s.allow("s3:GetObject", path, "")
}

func (s *session) allow(action, path, prefix string) bool {
	return slices.ContainsFunc(s.Statement, func(of statement) bool {
		if of.Effect != "Allow" || !of.Action.match(action) || !of.Resource.match("arn:aws:s3:::"+path) {
			return false
		}
		prefixes, conditional := of.Condition["StringLike"]["s3:prefix"]
		return !conditional || prefixes.match(prefix)
	})
}

// refuse answers as S3 does.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
}
