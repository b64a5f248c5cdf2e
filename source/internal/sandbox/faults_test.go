package sandbox

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const profilePath = "/developer/v2/user/profile/basic"

// try makes a request that may fail on the way.
func (b *bench) try(ctx context.Context, path string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, "GET", b.url+path, nil)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+b.tokens.AccessToken)
	client := http.Client{Transport: b.transport()}
	answer, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

func (b *bench) statuses(t *testing.T, path string, requests int) []int {
	t.Helper()
	var got []int
	for range requests {
		got = append(got, b.request(t, "GET", path, b.tokens.AccessToken).status)
	}
	return got
}

func TestFaultsStrikeWhatTheyMatch(t *testing.T) {
	for _, test := range []struct {
		name   string
		faults []Fault
		path   string
		want   []int
	}{
		{"once by default", []Fault{{Action: Replace, Status: 500}}, profilePath, []int{500, 200, 200}},
		{"the second and third", []Fault{{Action: Replace, Status: 503, Skip: 1, Times: 2}}, profilePath, []int{200, 503, 503, 200}},
		{"all that follow", []Fault{{Action: Replace, Status: 429, Skip: 1, Times: -1}}, profilePath, []int{200, 429, 429, 429}},
		{"one after the other", []Fault{{Action: Replace, Status: 500}, {Action: Replace, Status: 502, Times: 2}}, profilePath, []int{500, 502, 502, 200}},
		{"another path", []Fault{{Action: Replace, Status: 500, Path: "/developer/v2/cycle"}}, profilePath, []int{200}},
		{"a path below", []Fault{{Action: Replace, Status: 401, Path: "/developer/v2/user"}}, profilePath, []int{401, 200}},
		{"another method", []Fault{{Action: Replace, Status: 500, Method: "POST"}}, profilePath, []int{200}},
		{"never the controls", []Fault{{Action: Replace, Status: 500, Times: -1}}, "/sandbox/audit", []int{200}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.SetFaults(test.faults...)
			if diff := cmp.Diff(test.want, b.statuses(t, test.path, len(test.want))); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReplacedAnswerIsAsScripted(t *testing.T) {
	b := newBench(t, Config{})
	b.SetFaults(
		Fault{Action: Replace, Header: map[string]string{"Content-Type": "text/html"}, Body: "<html>Attention</html>"},
		Fault{Action: Replace, Status: 429, Header: map[string]string{"X-RateLimit-Reset": "7"}},
	)
	if got := b.get(t, "/v2/cycle"); got.status != 200 || got.header.Get("Content-Type") != "text/html" || got.body != "<html>Attention</html>" {
		t.Errorf("HTML: %+v", got)
	}
	if got := b.get(t, "/v2/cycle"); got.status != 429 || got.header.Get("X-RateLimit-Reset") != "7" || got.body != "" {
		t.Errorf("burst: %+v", got)
	}
	if got := b.Audit(); got.Faults != 2 || got.RateLimited != 0 || got.Requests["GET /developer/v2/cycle"] != 2 {
		t.Errorf("audit: %+v", got)
	}
}

func TestAlteredAnswerKeepsItsBody(t *testing.T) {
	b := newBench(t, Config{RequestsPerMinute: 100})
	want := b.get(t, "/v2/cycle").body
	b.SetFaults(Fault{Action: Alter, Header: map[string]string{"X-RateLimit-Limit": "", "X-RateLimit-Remaining": "many"}})
	got := b.get(t, "/v2/cycle")
	if got.body != want || got.header.Get("X-RateLimit-Remaining") != "many" || got.header.Values("X-RateLimit-Limit") != nil {
		t.Errorf("altered: %+v", got)
	}
}

func TestTruncatedAnswerLooksComplete(t *testing.T) {
	b := newBench(t, Config{})
	b.SetFaults(Fault{Action: Truncate, Bytes: 10})
	status, body, err := b.try(t.Context(), profilePath)
	if err != nil || status != http.StatusOK || len(body) != 10 {
		t.Errorf("%d %q %v", status, body, err)
	}
}

func TestCutAnswerEndsTooEarly(t *testing.T) {
	b := newBench(t, Config{})
	b.SetFaults(Fault{Action: Cut, Bytes: 10})
	status, body, err := b.try(t.Context(), profilePath)
	if !errors.Is(err, io.ErrUnexpectedEOF) || status != http.StatusOK || len(body) != 10 {
		t.Errorf("%d %q %v", status, body, err)
	}
}

func TestResetConnection(t *testing.T) {
	b := newBench(t, Config{})
	b.SetFaults(Fault{Action: Reset})
	if status, body, err := b.try(t.Context(), profilePath); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("%d %q %v", status, body, err)
	}
}

func TestHangLastsUntilTheClientGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newVirtualBench(t, Config{})
		b.SetFaults(Fault{Action: Hang})
		ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
		defer cancel()
		if status, _, err := b.try(ctx, profilePath); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d %v", status, err)
		}
	})
}

func TestDelayedAnswerIsTheServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newVirtualBench(t, Config{})
		b.SetFaults(Fault{Delay: time.Minute})
		before := time.Now()
		if got, took := b.get(t, "/v2/user/profile/basic"), time.Since(before); got.status != http.StatusOK || took != time.Minute {
			t.Errorf("%d after %v", got.status, took)
		}
	})
}

// The most dangerous fault of all: the refresh token is spent, the answer lost.
func TestAnswerLostAfterRotation(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault Fault
		spent bool
	}{
		{"error before the rotation", Fault{Action: Replace, Status: 503}, false},
		{"error after it", Fault{Action: Replace, Status: 503, Served: true}, true},
		{"reset before it", Fault{Action: Reset}, false},
		{"reset after it", Fault{Action: Reset, Served: true}, true},
		{"cut after it", Fault{Action: Cut, Bytes: 20}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{})
			test.fault.Path = "/oauth/oauth2/token"
			b.SetFaults(test.fault)
			form := "grant_type=refresh_token&client_id=client&client_secret=secret&refresh_token=" + b.tokens.RefreshToken
			answer, err := http.Post(b.url+"/oauth/oauth2/token", "application/x-www-form-urlencoded", strings.NewReader(form))
			if err == nil {
				_, err = io.ReadAll(answer.Body)
				answer.Body.Close()
			}
			if err == nil && answer.StatusCode == http.StatusOK {
				t.Fatal("the answer arrived")
			}
			if got := b.Audit().Refreshes == 1; got != test.spent {
				t.Errorf("refresh token spent: %v", got)
			}
			if got := b.refresh(t, b.tokens.RefreshToken).status; (got == http.StatusBadRequest) != test.spent {
				t.Errorf("next refresh: %d", got)
			}
		})
	}
}

func TestSettingFaultsReplacesTheScript(t *testing.T) {
	b := newBench(t, Config{})
	b.SetFaults(Fault{Action: Replace, Status: 500, Times: -1})
	b.SetFaults()
	if got := b.statuses(t, profilePath, 1); got[0] != http.StatusOK {
		t.Errorf("status %d with an empty script", got[0])
	}
}
