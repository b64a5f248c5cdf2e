package tokens

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens/secretstest"
)

// secretAt opens a store over the secret "whoop" of a server.
func secretAt(t *testing.T, h http.Handler) (open func(SecretConfig) *secretStore) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return func(c SecretConfig) *secretStore {
		c.ID, c.Endpoint = "whoop", server.URL
		s := NewSecretStore(c).(*secretStore)
		if s.open(t.Context()) == nil { // requests are repeated without the SDK's pauses
			options := s.client.Options()
			options.Retryer = retry.AddWithMaxBackoffDelay(options.Retryer, time.Microsecond)
			s.client = secretsmanager.New(options)
		}
		return s
	}
}

const document = `{"client_id":"id-hush","client_secret":"secret-hush","access_token":"access-0","refresh_token":"refresh-0","note":"kept"}`

func TestRefreshCostsTwoVersionsOfTheSecret(t *testing.T) {
	t.Parallel()
	aws := &secretstest.Server{}
	aws.Put("whoop", document)
	a := &authority{}
	if _, err := keeper(secretAt(t, aws)(SecretConfig{}), a).TokenInsteadOf(t.Context(), "access-0", nowhere); err != nil {
		t.Fatal(err)
	}
	value, versions := aws.Value("whoop")
	if versions != 3 || !strings.Contains(value, `"refresh-1"`) || !strings.Contains(value, `"note": "kept"`) {
		t.Errorf("%d versions, the last is %s", versions, value)
	}
	if diff := cmp.Diff([]string{"AWSCURRENT", "AWSPREVIOUS", claimLabel}, aws.Labels("whoop")); diff != "" {
		t.Error(diff)
	}
}

// The owner of a claim that expired was only slow. Whoever stores first wins, and
// the other one uses what was stored.
func TestExpiredClaimOfALivingProcessUndoesNothing(t *testing.T) {
	t.Parallel()
	aws := &secretstest.Server{}
	aws.Put("whoop", document)
	open := secretAt(t, aws)
	slow, heir := open(SecretConfig{}), open(SecretConfig{})
	heir.expiry = -time.Minute // whatever the clocks say
	c, err := slow.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Store{slow, heir} {
		if _, err := s.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	next := c
	next.AccessToken, next.RefreshToken = "access-1", "refresh-1"
	if err := heir.Save(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	other := c
	other.AccessToken, other.RefreshToken = "access-x", "refresh-x"
	if err := slow.Save(t.Context(), other); !errors.Is(err, ErrReplaced) {
		t.Errorf("error %v", err)
	}
	if got, err := slow.Load(t.Context()); err != nil || got != next {
		t.Errorf("%+v, %v", got, err)
	}
}

// A consent is stored at the instant at which a refresh stores its pair, or after somebody
// has taken the secret back to a version before.
func TestAConsentIsStoredWhateverElseIs(t *testing.T) {
	t.Parallel()
	var between func()
	aws := &secretstest.Server{Before: func(operation string) bool {
		if happens := between; happens != nil && operation == "PutSecretValue" {
			between = nil
			happens()
		}
		return true
	}}
	aws.Put("whoop", document)
	open := secretAt(t, aws)
	refresh, authorize := open(SecretConfig{}), open(SecretConfig{})
	c, err := refresh.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release, err := refresh.Claim(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer release(false)
	consent := c
	consent.AccessToken, consent.RefreshToken = "access-consent", "refresh-consent"
	for _, happens := range []func() error{
		func() error {
			next := c
			next.AccessToken, next.RefreshToken = "access-1", "refresh-1"
			return refresh.Save(t.Context(), next)
		},
		func() error {
			v, _, err := refresh.current(t.Context())
			return errors.Join(err, refresh.put(t.Context(), &secretsmanager.PutSecretValueInput{
				ClientRequestToken: successorOf(v), SecretString: &v.id, VersionStages: []string{"LATER"},
			}))
		},
	} {
		between = func() {
			if err := happens(); err != nil {
				t.Error(err)
			}
		}
		if err := authorize.Save(t.Context(), consent); err != nil {
			t.Error(err)
		}
		if got, err := open(SecretConfig{}).Load(t.Context()); err != nil || got != consent {
			t.Errorf("%+v, %v", got, err)
		}
		consent.RefreshToken += "-again"
	}
}

// Many have seen that nobody holds a claim before any of them puts his own.
func TestOneOfManyClaimsAtOneInstantHolds(t *testing.T) {
	t.Parallel()
	const many = 8
	var reached sync.WaitGroup
	reached.Add(many)
	var puts atomic.Int32
	aws := &secretstest.Server{Before: func(operation string) bool {
		if operation == "PutSecretValue" && puts.Add(1) <= many {
			reached.Done()
			reached.Wait()
		}
		return true
	}}
	aws.Put("whoop", document)
	open := secretAt(t, aws)
	c, err := open(SecretConfig{}).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var held atomic.Int32
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			mine, err := open(SecretConfig{}).tryClaim(t.Context(), c)
			if err != nil {
				t.Error(err)
			}
			if mine != nil {
				held.Add(1)
			}
		})
	}
	wg.Wait()
	if held.Load() != 1 {
		t.Errorf("%d of %d hold the claim", held.Load(), many)
	}
}

func TestClaimWithLostAnswersHolds(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]int32{"the claim's": 1, "the document's": 2} {
		t.Run(name, func(t *testing.T) {
			aws := &secretstest.Server{}
			aws.Put("whoop", document)
			var puts atomic.Int32
			open := secretAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "PutSecretValue") && puts.Add(1) == lost {
					aws.ServeHTTP(httptest.NewRecorder(), r)
					panic(http.ErrAbortHandler)
				}
				aws.ServeHTTP(w, r)
			}))
			a := &authority{}
			if got, err := keeper(open(SecretConfig{}), a).TokenInsteadOf(t.Context(), "access-0", nowhere); err != nil || got != "access-1" {
				t.Errorf("%s, %v", got, err)
			}
			if _, versions := aws.Value("whoop"); versions != 3 {
				t.Errorf("%d versions", versions)
			}
		})
	}
}

func TestRoleIsAssumedWithItsExternalID(t *testing.T) {
	t.Parallel()
	const role = "arn:aws:iam::123456789012:role/whoop"
	aws := &secretstest.Server{Role: role, ExternalID: "outside"}
	aws.Put("whoop", document)
	open := secretAt(t, aws)
	if _, err := open(SecretConfig{RoleARN: role, ExternalID: "outside"}).Load(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := open(SecretConfig{RoleARN: role}).Load(t.Context())
	if err == nil || !strings.Contains(err.Error(), "assuming the role "+role) || !strings.Contains(err.Error(), "external_id must be") {
		t.Errorf("without the external id: %v", err)
	}
}

// unusable is a secret that no refresh can use.
type unusable struct {
	document    string
	before      func(operation string) bool
	status      int // of every answer, if it is not 0
	want        string
	unavailable bool
}

func TestWhatIsWrongWithASecretIsFoundBeforeTheTokenIsSpent(t *testing.T) {
	t.Parallel()
	refuse := func(operations ...string) func(string) bool {
		return func(o string) bool { return !slices.Contains(operations, o) }
	}
	for name, u := range map[string]unusable{
		"missing":       {want: "reading the secret whoop: it does not exist in this account and region"},
		"not JSON":      {document: `{"client_id":"id-hush",`, want: "reading the secret whoop: it is not a JSON object"},
		"no client":     {document: `{"access_token":"access-0"}`, want: `it has no "client_id"`},
		"may not read":  {document: document, before: refuse("GetSecretValue"), want: "the policy must allow secretsmanager:GetSecretValue and secretsmanager:PutSecretValue"},
		"may not write": {document: document, before: refuse("PutSecretValue"), want: "claiming the secret whoop: AWS does not allow it"},
		"out of order":  {document: document, status: 503, want: "AWS did not answer properly (503)", unavailable: true},
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); u.wantFound(t) })
	}
}

func TestWhatIsWrongWithTheEnvironmentIsFoundBeforeTheTokenIsSpent(t *testing.T) {
	for name, test := range map[string]struct {
		environment map[string]string
		want        string
	}{
		"foreign key":    {map[string]string{"AWS_ACCESS_KEY_ID": "AKIDOTHER"}, "AWS refuses it: UnrecognizedClientException"},
		"no credentials": {map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "there are no AWS credentials for this process"},
		"no region":      {map[string]string{"AWS_REGION": ""}, "its region is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range test.environment {
				t.Setenv(name, value)
			}
			unusable{document: document, want: test.want}.wantFound(t)
		})
	}
}

// wantFound checks what a refresh says, and that WHOOP was not asked.
func (u unusable) wantFound(t *testing.T) {
	t.Helper()
	aws := &secretstest.Server{Before: u.before}
	if u.document != "" {
		aws.Put("whoop", u.document)
	}
	open := secretAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u.status != 0 {
			w.WriteHeader(u.status)
			io.WriteString(w, "<html>hush</html>") //nolint:errcheck // a test
			return
		}
		aws.ServeHTTP(w, r)
	}))
	a := &authority{}
	_, err := keeper(open(SecretConfig{}), a).TokenInsteadOf(t.Context(), "access-0", nowhere)
	var store *StoreError
	if !errors.As(err, &store) || !strings.Contains(err.Error(), u.want) || errors.Is(err, ErrUnavailable) != u.unavailable {
		t.Errorf("error %v, want %s", err, u.want)
	}
	for _, hush := range []string{"hush", "access-0", "refresh-0", "aws-secret-access-key"} {
		if err != nil && strings.Contains(err.Error(), hush) {
			t.Errorf("error %v shows %s", err, hush)
		}
	}
	if err := open(SecretConfig{}).Check(t.Context()); err == nil || errors.Is(err, ErrUnavailable) != u.unavailable {
		t.Errorf("a check finds %v", err)
	}
	a.want(t, 0, 0)
	if len(a.forms) > 0 {
		t.Errorf("WHOOP was sent %q", a.forms)
	}
}

func TestSecretIsMadeWhereThereIsNone(t *testing.T) {
	t.Parallel()
	a := &authority{}
	for name, aws := range map[string]*secretstest.Server{
		"none":     {},
		"no value": {Before: func(o string) bool { return o != "CreateSecret" }},
		"empty":    {Before: func(o string) bool { return o != "CreateSecret" }},
	} {
		switch name {
		case "no value":
			aws.Declare("whoop")
		case "empty":
			aws.Put("whoop", "{}")
		}
		open := secretAt(t, aws)
		if _, err := open(SecretConfig{}).Load(t.Context()); !errors.Is(err, ErrNotStored) {
			t.Errorf("%s: error %v", name, err)
		}
		if err := open(SecretConfig{}).Save(t.Context(), a.credentials()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := open(SecretConfig{}).Load(t.Context()); err != nil || got != a.credentials() {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	denied := &secretstest.Server{Before: func(o string) bool { return o != "CreateSecret" }}
	err := secretAt(t, denied)(SecretConfig{}).Save(t.Context(), a.credentials())
	if err == nil || !strings.Contains(err.Error(), "must allow secretsmanager:CreateSecret") {
		t.Errorf("error %v", err)
	}
}

// AWS keeps about a hundred versions of a day. Runs every quarter of an hour that cannot refresh leave some of them.
func TestRefreshesThatFailLeaveVersionsForTheOneThatSucceeds(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]bool{"WHOOP refuses the token": true, "WHOOP does not answer": false} {
		t.Run(name, func(t *testing.T) {
			aws := &secretstest.Server{}
			aws.Put("whoop", document)
			open := secretAt(t, aws)
			c, err := open(SecretConfig{}).Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			claims := 0
			for range 4 * 24 {
				release, err := open(SecretConfig{}).Claim(t.Context(), c)
				switch {
				case err == nil:
					claims++
					release(refused)
				case isRevoked(err) != refused, !refused && !errors.Is(err, ErrUnavailable):
					t.Fatal(err)
				}
				aws.Advance(15 * time.Minute)
			}
			if _, versions := aws.Value("whoop"); versions > 70 || claims < 16 {
				t.Errorf("%d versions after %d claims", versions, claims)
			}
			next := c
			next.RefreshToken = "refresh-consent"
			if err := open(SecretConfig{}).Save(t.Context(), next); err != nil {
				t.Error(err)
			}
			if release, err := open(SecretConfig{}).Claim(t.Context(), next); err != nil { // the new tokens have not failed
				t.Error(err)
			} else {
				release(false)
			}
		})
	}
}

func TestASecretWithTooManyVersionsCostsNoToken(t *testing.T) {
	t.Parallel()
	aws := &secretstest.Server{}
	for range 100 {
		aws.Put("whoop", document)
	}
	a := &authority{}
	_, err := keeper(secretAt(t, aws)(SecretConfig{}), a).TokenInsteadOf(t.Context(), "access-0", nowhere)
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "about a hundred versions of it in 24 hours") {
		t.Errorf("error %v", err)
	}
	a.want(t, 0, 0)
}

// The version that has a successor is the current one again. Its tokens may be good.
func TestARefreshOfASecretThatWasTakenBack(t *testing.T) {
	t.Parallel()
	aws := &secretstest.Server{}
	aws.Put("whoop", document)
	open := secretAt(t, aws)
	c, err := open(SecretConfig{}).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	consent := c
	consent.AccessToken, consent.RefreshToken = "access-consent", "refresh-consent"
	if err := open(SecretConfig{}).Save(t.Context(), consent); err != nil {
		t.Fatal(err)
	}
	aws.TakeBack("whoop")
	a := &authority{}
	if got, err := keeper(open(SecretConfig{}), a).TokenInsteadOf(t.Context(), "access-0", nowhere); err != nil || got != "access-1" {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := open(SecretConfig{}).Load(t.Context()); err != nil || got.RefreshToken != "refresh-1" {
		t.Errorf("stored: %+v, %v", got, err)
	}
}
