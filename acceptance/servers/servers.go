// Package servers runs real catalogs and object stores on loopback: versions that are pinned, each on
// a free port, for as long as they are needed.
package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A Programs is the directory into which acceptance/engines/install.sh puts what it installs.
type Programs string

const (
	startTimeout = 3 * time.Minute // Nessie needs half a minute on a machine that is busy
	stopTimeout  = 30 * time.Second
)

// A Server is a process that answers requests until Stop, whatever becomes of the context it was started with.
type Server struct {
	Endpoint  string // such as http://127.0.0.1:40123
	Directory string // of an object store that keeps buckets as directories

	accessKeyID, secretAccessKey string    // of an object store
	role                         string    // whose sessions a catalog can give to others
	sessions                     *sessions // of the role

	name   string
	cmd    *exec.Cmd
	log    output
	ended  chan struct{} // closed when the process has ended
	stop   os.Signal
	front  *httptest.Server // that has Endpoint; nil: the process has it
	remove []string         // what goes with the server
}

// start runs a program and returns when it answers. stop asks it to end.
func start(ctx context.Context, name string, cmd *exec.Cmd, stop os.Signal, answers func(context.Context) error) (*Server, error) {
	s := &Server{name: name, cmd: cmd, stop: stop, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		_ = cmd.Wait() // it was told to end
		close(s.ended)
	}()
	limited, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := answers(limited)
		if err == nil {
			return s, nil
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("%s ended when it started: %s\n%s", name, cmd.ProcessState, s.Log())
		case <-limited.Done():
			return nil, errors.Join(fmt.Errorf("%s does not start: %w\n%s", name, err, s.Log()), s.Stop())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Process is the server's process.
func (s *Server) Process() *os.Process { return s.cmd.Process }

// Log is the end of what the server has written.
func (s *Server) Log() string { return s.log.String() }

// Stop ends the server and removes what it kept. It may be called again.
func (s *Server) Stop() error {
	err := s.end()
	if s.front != nil {
		s.front.Close()
	}
	for _, path := range s.remove {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

func (s *Server) end() error {
	if err := s.cmd.Process.Signal(s.stop); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", s.name, err)
	}
	select {
	case <-s.ended:
		if code := s.cmd.ProcessState.ExitCode(); code > 0 && code != 128+int(syscall.SIGTERM) { // Java's when it is told to end
			return fmt.Errorf("%s ended with exit code %d\n%s", s.name, code, s.Log())
		}
		return nil
	case <-time.After(stopTimeout):
	}
	err := s.cmd.Process.Kill()
	<-s.ended
	return errors.Join(fmt.Errorf("%s did not end within %v\n%s", s.name, stopTimeout, s.Log()), err)
}

// responds is a check of whether url answers with one of the statuses.
func responds(url string, statuses ...int) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := direct.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		for _, status := range statuses {
			if resp.StatusCode == status {
				return nil
			}
		}
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
}

// direct uses no proxy: the servers are on this machine. It keeps the connections of syncs that
// write hundreds of tables at once.
var direct = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}, Timeout: 10 * time.Second}

// freeAddress is an address of this machine that nobody uses yet.
func freeAddress() (*net.TCPAddr, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr), nil
}

// terminate is what most servers end on.
const terminate = syscall.SIGTERM

// An output keeps the end of what is written.
type output struct {
	lock sync.Mutex
	text []byte
}

const outputSize = 16 << 10

func (o *output) Write(p []byte) (int, error) {
	o.lock.Lock()
	defer o.lock.Unlock()
	o.text = append(o.text, p...)
	if n := len(o.text) - outputSize; n > 0 {
		o.text = bytes.Clone(o.text[n:])
	}
	return len(p), nil
}

func (o *output) String() string {
	o.lock.Lock()
	defer o.lock.Unlock()
	return string(o.text)
}
