package snowflaketest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
)

// New starts an account on loopback, without anything in it but ACCOUNTADMIN.
func New(t testing.TB, name string) *Account {
	a, handler := newAccount(t, name)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	a.URL = server.URL
	return a
}

// A Network connects servers and clients in memory. In a bubble of time, waiting for a
// server takes none.
type Network struct {
	t       testing.TB
	mu      sync.Mutex
	servers map[string]*listener
}

// NewNetwork makes a network for the servers and the clients of one bubble.
func NewNetwork(t testing.TB) *Network { return &Network{t: t, servers: map[string]*listener{}} }

// NewAccount is [New] on the network.
func (n *Network) NewAccount(name string) *Account {
	a, handler := newAccount(n.t, name)
	a.URL = n.Serve(handler)
	return a
}

// Serve starts a server on the network, and returns its address.
func (n *Network) Serve(handler http.Handler) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &listener{address: address(fmt.Sprintf("server-%d.test:80", len(n.servers))), accepted: make(chan net.Conn), closed: make(chan struct{})}
	n.servers[l.address.String()] = l
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	server.Start()
	n.t.Cleanup(server.Close)
	return server.URL
}

// Transport makes requests to the servers of the network. Nobody listens elsewhere.
func (n *Network) Transport() http.RoundTripper { return &http.Transport{DialContext: n.dial} }

func (n *Network) dial(ctx context.Context, _, to string) (net.Conn, error) {
	n.mu.Lock()
	l := n.servers[to]
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: address(to), Err: syscall.ECONNREFUSED}
	}
	ours, theirs := net.Pipe()
	select {
	case l.accepted <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A listener accepts the connections to one server of a network.
type listener struct {
	address
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (l *listener) Addr() net.Addr { return l.address }

func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

type address string

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }
