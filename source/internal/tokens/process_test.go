package tokens

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens/secretstest"
)

// An order is what a process of its own is to do: refresh, from many goroutines,
// and perhaps die at a step.
type order struct {
	Place      place
	TokenURL   string
	Goroutines int
	DieAt      string
}

// The steps at which a process can die.
const (
	beforeClaim   = "before the claim"
	afterClaim    = "after the claim"
	beforeRequest = "before the request"
	afterAnswer   = "after the answer"
	beforeWrite   = "before the write"
	afterWrite    = "after the write"
	afterRelease  = "after the release"
)

// A report is what became of an order.
type report struct {
	Tokens  []string
	Error   string
	Revoked bool
}

const orderVariable = "TOKENS_TEST_ORDER"

// TestMain makes the test binary the other process, too. All of them find the
// same credentials of AWS.
func TestMain(m *testing.M) {
	for name, value := range secretstest.Environment() {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	text := os.Getenv(orderVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(o.execute()); err != nil {
		panic(err)
	}
}

func (o order) execute() report {
	ctx := context.Background() // the test that ends kills what has not
	k := New(Config{
		Store: mortalStore{o.Place.open(), o}, HTTP: mortalTransport{o},
		TokenURL: o.TokenURL, Log: slog.New(slog.DiscardHandler),
	})
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil { // ends when all are to start
		panic(err)
	}
	r := report{Tokens: make([]string, o.Goroutines)}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n := range o.Goroutines {
		wg.Go(func() {
			token, err := k.Token(ctx)
			if err == nil {
				token, err = k.TokenInsteadOf(ctx, "access-0", nowhere)
			}
			mu.Lock()
			defer mu.Unlock()
			r.Tokens[n] = token
			if err != nil {
				r.Error, r.Revoked = err.Error(), isRevoked(err)
			}
		})
	}
	wg.Wait()
	return r
}

// reach kills the process as nothing in it can prevent, if it was to die here.
func (o order) reach(step string) {
	if o.DieAt == step {
		syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // there is nobody left to tell
		select {}
	}
}

// A mortalStore is a store whose process may die around each of its calls.
type mortalStore struct {
	Store
	order order
}

func (s mortalStore) Claim(ctx context.Context, c Credentials) (func(refused bool), error) {
	s.order.reach(beforeClaim)
	release, err := s.Store.Claim(ctx, c)
	if err != nil {
		return nil, err
	}
	s.order.reach(afterClaim)
	return func(refused bool) { release(refused); s.order.reach(afterRelease) }, nil
}

func (s mortalStore) Save(ctx context.Context, c Credentials) error {
	s.order.reach(beforeWrite)
	err := s.Store.Save(ctx, c)
	s.order.reach(afterWrite)
	return err
}

// A mortalTransport is the same for the requests to WHOOP.
type mortalTransport struct{ order order }

func (t mortalTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.order.reach(beforeRequest)
	resp, err := http.DefaultTransport.RoundTrip(r)
	t.order.reach(afterAnswer)
	return resp, err
}

// A child is a process with an order.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

// spawn returns a process that waits to be started.
func spawn(t *testing.T, o order) *child {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), orderVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t, cmd, in, bufio.NewReader(out)}
	if line, err := c.out.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("a child says %q, %v", line, err)
	}
	return c
}

func (c *child) start() {
	if err := c.in.Close(); err != nil {
		c.t.Error(err)
	}
}

func (c *child) wait() report {
	c.t.Helper()
	var r report
	if err := json.NewDecoder(c.out).Decode(&r); err != nil {
		c.t.Errorf("a child's report: %v", err)
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Error(err)
	}
	return r
}

func (c *child) waitKilled() {
	c.t.Helper()
	io.Copy(io.Discard, c.out) //nolint:errcheck // it dies
	err := c.cmd.Wait()
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGKILL {
		c.t.Errorf("a child was to be killed: %v", err)
	}
}
