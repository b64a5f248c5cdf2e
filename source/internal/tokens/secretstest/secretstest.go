// Package secretstest is a stand-in for AWS Secrets Manager, and for the one
// operation of AWS's Security Token Service that leads to it. It keeps the
// documented rules for versions and staging labels that a claim depends on.
package secretstest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Access keys. A request signed with another one is refused, as is one without
// the role's when Server.Role is set.
const (
	AccessKey     = "AKIDEXAMPLE"
	RoleAccessKey = "ASIAEXAMPLE"
)

// Environment is what AWS's chain has to find for its credentials to be those of
// this package, and no others that the machine may have.
func Environment() map[string]string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID": AccessKey, "AWS_SECRET_ACCESS_KEY": "aws-secret-access-key", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": "eu-central-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
		"AWS_CA_BUNDLE": "",
	}
}

// A Server is one account's Secrets Manager. Set its fields before it serves.
type Server struct {
	// Role, if not empty, is the ARN that must be assumed, with ExternalID.
	Role, ExternalID string
	// Before, if not nil, is called with each operation's name before it takes
	// place; false refuses it with AccessDeniedException.
	Before func(operation string) bool

	mu      sync.Mutex
	ahead   time.Duration // of this machine's clock
	secrets map[string]*secret
}

type secret struct {
	versions map[string]version
	labels   map[string]string // to the id of the version that bears it
}

type version struct {
	value   string
	created time.Time
}

const (
	largestValue = 65536
	mostLabels   = 20  // of one version
	mostVersions = 100 // younger than a day; older ones are removed
)

// Advance moves AWS's clock.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

func (s *Server) now() time.Time { return time.Now().Add(s.ahead) }

// Declare makes a secret without a value, as infrastructure tools do.
func (s *Server) Declare(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.declare(name)
}

func (s *Server) declare(name string) {
	if s.secrets == nil {
		s.secrets = map[string]*secret{}
	}
	if s.secrets[name] == nil {
		s.secrets[name] = &secret{versions: map[string]version{}, labels: map[string]string{}}
	}
}

// Put makes a secret, or gives it another value.
func (s *Server) Put(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.declare(name)
	n := len(s.secrets[name].versions)
	s.secrets[name].add(version{value, s.now()}, fmt.Sprintf("00000000-0000-4000-8000-%012d", n), []string{"AWSCURRENT"})
}

// Value returns a secret's current value, and how many versions it has had.
func (s *Server) Value(name string) (value string, versions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secrets[name] == nil {
		return "", 0
	}
	return s.secrets[name].current("AWSCURRENT").value, len(s.secrets[name].versions)
}

// TakeBack moves AWSCURRENT back to the version before, as a person can.
func (s *Server) TakeBack(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	labels := s.secrets[name].labels
	labels["AWSCURRENT"], labels["AWSPREVIOUS"] = labels["AWSPREVIOUS"], labels["AWSCURRENT"]
}

// Labels returns the staging labels that are in use.
func (s *Server) Labels(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.secrets[name].labels))
}

func (s *secret) current(label string) version { return s.versions[s.labels[label]] }

// add adds a version. A label moves from the version that bore it, and
// AWSPREVIOUS to the one that AWSCURRENT left.
func (s *secret) add(v version, id string, labels []string) {
	s.versions[id] = v
	for _, label := range labels {
		if label == "AWSCURRENT" && s.labels[label] != "" {
			s.labels["AWSPREVIOUS"] = s.labels[label]
		}
		s.labels[label] = id
	}
}

// A failure is an error in AWS's form.
type failure struct{ code, message string }

type request struct {
	SecretId, Name, VersionId, VersionStage string //nolint:revive // as AWS has it
	SecretString, ClientRequestToken        string
	VersionStages                           []string
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if form, err := url.ParseQuery(string(body)); err == nil && form.Get("Action") == "AssumeRole" {
		s.assumeRole(w, form)
		return
	}
	var in request
	if err := json.Unmarshal(body, &in); err != nil {
		refuse(w, failure{"SerializationException", err.Error()})
		return
	}
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.")
	key := AccessKey
	if s.Role != "" {
		key = RoleAccessKey
	}
	switch {
	case !strings.Contains(r.Header.Get("Authorization"), "Credential="+key+"/"):
		refuse(w, failure{"UnrecognizedClientException", "The security token included in the request is invalid."})
		return
	case s.Before != nil && !s.Before(operation):
		refuse(w, failure{"AccessDeniedException", "User: arn:aws:iam::123456789012:user/example is not authorized to perform: secretsmanager:" + operation})
		return
	}
	out, now, f := s.do(operation, in)
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	if f != nil {
		refuse(w, *f)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	json.NewEncoder(w).Encode(out) //nolint:errcheck // the client went away
}

func refuse(w http.ResponseWriter, f failure) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusBadRequest)
	json.NewEncoder(w).Encode(map[string]string{"__type": f.code, "Message": f.message}) //nolint:errcheck // the client went away
}

// do also returns the time by AWS's clock.
func (s *Server) do(operation string, in request) (map[string]any, time.Time, *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, f := s.operate(operation, in)
	return out, s.now(), f
}

func (s *Server) operate(operation string, in request) (map[string]any, *failure) {
	if operation == "CreateSecret" {
		if s.secrets[in.Name] != nil {
			return nil, &failure{"ResourceExistsException", "The operation failed because the secret " + in.Name + " already exists."}
		}
		s.declare(in.Name)
		return s.secrets[in.Name].put(in, s.now())
	}
	found := s.secrets[in.SecretId]
	if found == nil {
		return nil, &failure{"ResourceNotFoundException", "Secrets Manager can't find the specified secret."}
	}
	switch operation {
	case "GetSecretValue":
		return found.get(in)
	case "PutSecretValue":
		return found.put(in, s.now())
	}
	return nil, &failure{"UnknownOperationException", operation}
}

func (s *secret) get(in request) (map[string]any, *failure) {
	id := in.VersionId
	if id == "" {
		label := in.VersionStage
		if label == "" {
			label = "AWSCURRENT"
		}
		if id = s.labels[label]; id == "" {
			return nil, &failure{"ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: " + label}
		}
	}
	v, ok := s.versions[id]
	if !ok {
		return nil, &failure{"ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: " + id}
	}
	return map[string]any{"VersionId": id, "SecretString": v.value, "CreatedDate": float64(v.created.UnixMilli()) / 1000}, nil
}

func (s *secret) put(in request, now time.Time) (map[string]any, *failure) {
	if len(in.ClientRequestToken) < 32 || len(in.ClientRequestToken) > 64 {
		return nil, &failure{"InvalidParameterException", "You must provide a ClientRequestToken value between 32 and 64 characters."}
	}
	if len(in.SecretString) == 0 || len(in.SecretString) > largestValue || len(in.VersionStages) > mostLabels {
		return nil, &failure{"InvalidParameterException", "The value or the labels are too many or too few."}
	}
	if v, ok := s.versions[in.ClientRequestToken]; ok {
		if v.value != in.SecretString {
			return nil, &failure{"ResourceExistsException", "You can't use ClientRequestToken " + in.ClientRequestToken + " because that value is already in use for a version of this secret."}
		}
		// The request is ignored, with its labels.
	} else {
		young := 0
		for _, v := range s.versions {
			if now.Sub(v.created) < 24*time.Hour {
				young++
			}
		}
		if young >= mostVersions {
			return nil, &failure{"LimitExceededException", "The request failed because it would exceed one of the Secrets Manager quotas."}
		}
		labels := in.VersionStages
		if len(labels) == 0 {
			labels = []string{"AWSCURRENT"}
		}
		s.add(version{in.SecretString, now}, in.ClientRequestToken, labels)
	}
	return map[string]any{"VersionId": in.ClientRequestToken}, nil
}

func (s *Server) assumeRole(w http.ResponseWriter, form url.Values) {
	w.Header().Set("Content-Type", "text/xml")
	if s.Role == "" || form.Get("RoleArn") != s.Role || form.Get("ExternalId") != s.ExternalID {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code>`+ //nolint:errcheck // the client went away
			`<Message>User is not authorized to perform: sts:AssumeRole</Message></Error><RequestId>1</RequestId></ErrorResponse>`)
		return
	}
	fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>`+
		`<AccessKeyId>%s</AccessKeyId><SecretAccessKey>role-secret-access-key</SecretAccessKey><SessionToken>session</SessionToken><Expiration>%s</Expiration>`+
		`</Credentials></AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>`,
		RoleAccessKey, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}
