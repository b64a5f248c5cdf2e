package tokens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// authority is a token endpoint with single-use refresh tokens.
type authority struct {
	mu                 sync.Mutex
	generation         int
	refreshes, replays int
	forms              []string
	answer             func(http.ResponseWriter) bool // instead of the real one, if it says so
	lose               bool                           // the next answer, after the refresh took place
}

func (a *authority) credentials() Credentials {
	return Credentials{ClientID: "id", ClientSecret: "secret", AccessToken: a.name("access"), RefreshToken: a.name("refresh")}
}

func (a *authority) name(kind string) string { return fmt.Sprintf("%s-%d", kind, a.generation) }

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := r.ParseForm(); err != nil {
		panic(err)
	}
	a.forms = append(a.forms, r.PostForm.Encode())
	if a.answer != nil && a.answer(w) {
		return
	}
	if r.PostForm.Get("refresh_token") != a.name("refresh") {
		a.replays++
		w.WriteHeader(http.StatusBadRequest)
		w.Write([]byte(`{"error":"invalid_grant","error_description":"spent"}`)) //nolint:errcheck // a test
		return
	}
	a.refreshes++
	a.generation++
	if a.lose {
		a.lose = false
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(w, `{"access_token":%q,"refresh_token":%q,"expires_in":3600,"scope":"offline read:cycles","token_type":"bearer"}`, a.name("access"), a.name("refresh"))
}

// RoundTrip lets the authority be a transport, for tests without a network.
func (a *authority) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	w := httptest.NewRecorder()
	defer func() {
		if recover() != nil {
			err = errors.New("connection reset by peer")
		}
	}()
	a.ServeHTTP(w, r)
	return w.Result(), nil
}

func keeper(s Store, a *authority) *Keeper {
	return New(Config{Store: s, TokenURL: "http://whoop.invalid/token", HTTP: a, Log: slog.New(slog.DiscardHandler)})
}

// nowhere is a token accepted any more.
func nowhere(context.Context) (bool, error) { return false, nil }

// listening is an orchestrator that takes what it is told.
func listening() error { return nil }

func TestRefreshRequestIsAsWHOOPWantsIt(t *testing.T) {
	a := &authority{}
	k := keeper(NewConfigStore(a.credentials(), listening, func(Credentials) error { return nil }), a)
	if _, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere); err != nil {
		t.Fatal(err)
	}
	if want := "client_id=id&client_secret=secret&grant_type=refresh_token&refresh_token=refresh-0&scope=offline"; len(a.forms) != 1 || a.forms[0] != want {
		t.Errorf("forms %q", a.forms)
	}
}

func TestNewPairIsDurableBeforeItIsHandedOut(t *testing.T) {
	a := &authority{}
	full := errors.New("disk full")
	store := &fullStore{filled(t, inFile, a.credentials()).open(), full, 0}
	k := keeper(store, a)
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		got, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere)
		var failed *StoreError
		if got != "" || !errors.As(err, &failed) || !errors.Is(err, full) {
			t.Errorf("%q, %v", got, err)
		}
		if took := time.Since(begun); took < savePatience-longestPause || took > savePatience || store.saves < 20 {
			t.Errorf("gave up after %d attempts in %v", store.saves, took)
		}
		if _, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere); !errors.Is(err, full) || a.replays != 0 {
			t.Errorf("error %v, %d replays: others are told something else, or the spent token was sent again", err, a.replays)
		}
	})
}

// A fullStore is a store that nothing can be written to.
type fullStore struct {
	Store
	full  error
	saves int
}

func (s *fullStore) Save(context.Context, Credentials) error { s.saves++; return s.full }

// An output that nobody reads is known before the refresh token is spent, and stays so.
func TestNobodyWhoWouldTakeANewPairCostsNoToken(t *testing.T) {
	a := &authority{}
	closed := errors.New("broken pipe")
	deaf := func() error { return closed }
	k := keeper(NewConfigStore(a.credentials(), deaf, func(Credentials) error { t.Error("a pair is handed over"); return nil }), a)
	var store *StoreError
	if got, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere); got != "" || !errors.As(err, &store) || !errors.Is(err, closed) || len(a.forms) != 0 {
		t.Errorf("%q, %v, after %d requests", got, err, len(a.forms))
	}
}

func TestANewPairThatNobodyTakesIsHandedOverOnce(t *testing.T) {
	a := &authority{}
	closed := errors.New("broken pipe")
	given := 0
	k := keeper(NewConfigStore(a.credentials(), listening, func(Credentials) error { given++; return closed }), a)
	if got, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere); got != "" || !errors.Is(err, closed) || given != 1 {
		t.Errorf("%q, %v; handed over %d times", got, err, given)
	}
}

func TestTokenIsRenewedWhenItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{}
		c := a.credentials()
		c.ExpiresAt = time.Now().Add(time.Hour)
		k := keeper(NewConfigStore(c, listening, func(Credentials) error { return nil }), a)
		for _, step := range []struct {
			after time.Duration
			want  string
		}{{0, "access-0"}, {58 * time.Minute, "access-0"}, {time.Minute + time.Second, "access-1"}, {58 * time.Minute, "access-1"}, {2 * time.Minute, "access-2"}} {
			time.Sleep(step.after)
			if got, err := k.Token(t.Context()); err != nil || got != step.want {
				t.Errorf("%s, %v; want %s", got, err, step.want)
			}
		}
	})
}

func TestTokenJustGivenIsNotRenewedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{}
		k := keeper(NewConfigStore(a.credentials(), listening, func(Credentials) error { return nil }), a)
		for range 5 {
			if got, err := k.TokenInsteadOf(t.Context(), "access-1", nowhere); err != nil || got != "access-0" {
				t.Fatalf("%s, %v: another token than the refused one is there", got, err)
			}
		}
		for range 5 {
			if _, err := k.TokenInsteadOf(t.Context(), a.name("access"), nowhere); err != nil {
				t.Fatal(err)
			}
		}
		if a.refreshes != 1 {
			t.Errorf("%d refreshes", a.refreshes)
		}
		time.Sleep(2 * time.Minute)
		if got, err := k.TokenInsteadOf(t.Context(), "access-1", nowhere); err != nil || got != "access-2" {
			t.Errorf("%s, %v", got, err)
		}
	})
}

// While a machine sleeps, tokens expire. What is compared with the time that Go measures
// durations with would not know: it does not pass then.
func TestTheAgeOfATokenIsThatOnTheWallClock(t *testing.T) {
	a := &authority{}
	k := keeper(NewConfigStore(a.credentials(), listening, func(Credentials) error { return nil }), a)
	if _, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]time.Time{"issued": k.issued, "expires": k.expires} {
		if at.IsZero() || at != at.Round(0) { // which takes the other time away
			t.Errorf("%s is %v", name, at)
		}
	}
}

// WHOOP refuses a request that the consent does not cover as it refuses a token that is
// dead. What it says elsewhere tells which it is, and is asked for only where it can.
func TestATokenThatIsAcceptedElsewhereIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{}
		c := a.credentials()
		c.ExpiresAt = time.Now().Add(time.Hour)
		k := keeper(NewConfigStore(c, listening, func(Credentials) error { return nil }), a)
		asked := 0
		says := func(accepted bool, err error) func(context.Context) (bool, error) {
			return func(context.Context) (bool, error) { asked++; return accepted, err }
		}
		quota := errors.New("the quota is used up")
		for _, step := range []struct {
			what      string
			after     time.Duration
			elsewhere func(context.Context) (bool, error)
			want      string
			err       error
			asked     int
		}{
			{"accepted elsewhere", 0, says(true, nil), "access-0", nil, 1},
			{"accepted elsewhere for long", 30 * time.Minute, says(true, nil), "access-0", nil, 2},
			{"nobody can say", 0, says(false, quota), "", quota, 3},
			{"refused everywhere", 0, says(false, nil), "access-1", nil, 4},
			{"issued just now", 0, says(false, nil), "access-1", nil, 4},
			{"accepted elsewhere again", 2 * time.Minute, says(true, nil), "access-1", nil, 5},
			{"expired", time.Hour, says(true, nil), "access-2", nil, 5},
		} {
			time.Sleep(step.after)
			if got, err := k.TokenInsteadOf(t.Context(), a.name("access"), step.elsewhere); got != step.want || !errors.Is(err, step.err) || asked != step.asked {
				t.Errorf("%s: %s, %v, asked %d times; want %s, %v, %d", step.what, got, err, asked, step.want, step.err, step.asked)
			}
		}
	})
}

func TestOneOfManyFindsOutThatATokenIsDead(t *testing.T) {
	a := &authority{}
	k := keeper(filled(t, inFile, a.credentials()).open(), a)
	var asked atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			got, err := k.TokenInsteadOf(t.Context(), "access-0", func(context.Context) (bool, error) { asked.Add(1); return false, nil })
			if err != nil || got != "access-1" {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
	wg.Wait()
	if a.want(t, 1, 0); asked.Load() != 1 {
		t.Errorf("WHOOP was asked %d times", asked.Load())
	}
}

// A lost answer may mean a spent token. Nothing better than sending it again is
// left, and WHOOP's refusal ends it.
func TestLostAnswerEndsAsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{lose: true}
		k := keeper(NewConfigStore(a.credentials(), listening, func(Credentials) error { return nil }), a)
		_, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere)
		if !isRevoked(err) || len(a.forms) != 2 {
			t.Errorf("error %v after %d requests", err, len(a.forms))
		}
	})
}

func TestCancellationDoesNotInterruptARefresh(t *testing.T) {
	a := &authority{}
	ctx, cancel := context.WithCancel(t.Context())
	a.answer = func(http.ResponseWriter) bool { cancel(); return false }
	path := filled(t, inFile, a.credentials()).Path
	if _, err := keeper(NewFileStore(path), a).TokenInsteadOf(ctx, "access-0", nowhere); err != nil {
		t.Error(err)
	}
	if c, err := NewFileStore(path).Load(t.Context()); err != nil || c.RefreshToken != "refresh-1" {
		t.Errorf("stored: %+v, %v", c, err)
	}
}

// A pair that this process was given just now can be dead already: another process has refreshed it.
func TestAPairThatAnotherProcessReplacedAtOnceIsAdopted(t *testing.T) {
	a := &authority{}
	path := filled(t, inFile, a.credentials()).Path
	one, other := keeper(NewFileStore(path), a), keeper(NewFileStore(path), a)
	for _, step := range []struct {
		keeper        *Keeper
		refused, want string
	}{{one, "access-0", "access-1"}, {other, "access-1", "access-2"}, {one, "access-1", "access-2"}, {one, "access-2", "access-3"}, {other, "access-2", "access-3"}} {
		if got, err := step.keeper.TokenInsteadOf(t.Context(), step.refused, nowhere); err != nil || got != step.want {
			t.Errorf("%s, %v; want %s", got, err, step.want)
		}
	}
	a.want(t, 3, 0)
}

func TestPairOfAnotherProcessIsAdopted(t *testing.T) {
	a := &authority{}
	path := filled(t, inFile, a.credentials()).Path
	one, other := keeper(NewFileStore(path), a), keeper(NewFileStore(path), a)
	if _, err := other.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := one.TokenInsteadOf(t.Context(), "access-0", nowhere); err != nil {
		t.Fatal(err)
	}
	if got, err := other.TokenInsteadOf(t.Context(), "access-0", nowhere); err != nil || got != "access-1" || a.refreshes != 1 {
		t.Errorf("%s, %v after %d refreshes", got, err, a.refreshes)
	}
}

// Another process that does not use claims spends the token at the worst instant.
func TestRefusedTokenIsLookedUpOnceMore(t *testing.T) {
	for _, refuse := range []http.HandlerFunc{answering(400, `{"error":"invalid_grant"}`), answering(401, `{"error":"token_inactive"}`)} {
		a := &authority{}
		path := filled(t, inFile, a.credentials()).Path
		k := keeper(NewFileStore(path), a)
		a.answer = func(w http.ResponseWriter) bool {
			a.answer = nil
			a.generation = 7
			data, err := mergeDocument(nil, a.credentials())
			if err := errors.Join(err, WriteFile(path, data)); err != nil {
				t.Error(err)
			}
			refuse(w, nil)
			return true
		}
		if got, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere); err != nil || got != "access-7" {
			t.Errorf("%s, %v", got, err)
		}
	}
}

func TestUnwritableStoreIsFoundOutBeforeTheTokenIsSpent(t *testing.T) {
	a := &authority{}
	dir := t.TempDir()
	path := filepath.Join(dir, "gone", "whoop.json")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := NewFileStore(path).Save(t.Context(), a.credentials()); err != nil {
		t.Fatal(err)
	}
	k := keeper(NewFileStore(path), a)
	if _, err := k.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	var store *StoreError
	if _, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere); !errors.As(err, &store) || len(a.forms) != 0 {
		t.Errorf("error %v after %d requests", err, len(a.forms))
	}
}

func TestTokenFileIsPrivateWholeAndBehindItsLink(t *testing.T) {
	a := &authority{}
	path := filled(t, inFile, a.credentials()).Path
	link := filepath.Join(t.TempDir(), "link.json")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := keeper(NewFileStore(link), a).TokenInsteadOf(t.Context(), "access-0", nowhere); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".tokens-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
