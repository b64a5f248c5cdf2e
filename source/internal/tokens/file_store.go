package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A fileStore keeps credentials as one JSON document in a file that many
// processes of one machine may share.
type fileStore struct{ path string }

// NewFileStore returns a store over the token file at path, which must exist.
// Beside it lies path.lock, empty, which the process that refreshes holds. The
// directory must be writable: the file is replaced, never written into. A
// symbolic link is followed.
func NewFileStore(path string) Store { return &fileStore{path} }

func (s *fileStore) Load(context.Context) (Credentials, error) {
	var c Credentials
	data, err := os.ReadFile(s.path)
	if err != nil {
		return c, fmt.Errorf("reading the token file: %w", err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("reading the token file %s: %w", s.path, err)
	}
	return c, nil
}

// claimPoll is how often a process that waits for another's refresh looks again.
const claimPoll = 20 * time.Millisecond

// Claim takes the lock of the lock file, which the system gives back when the
// process dies. It also writes the file anew as it is: a directory that is full
// or read-only is found out before it matters.
func (s *fileStore) Claim(ctx context.Context) (func(), error) {
	lock, err := os.OpenFile(s.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claiming the token file: %w", err)
	}
	release := func() { lock.Close() } //nolint:errcheck // nothing was written; closing unlocks
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			release()
			return nil, fmt.Errorf("claiming the token file %s: %w", s.path, err)
		}
		select {
		case <-ctx.Done():
			release()
			return nil, ctx.Err()
		case <-time.After(claimPoll):
		}
	}
	data, err := os.ReadFile(s.path)
	if err == nil {
		err = s.replace(data)
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("claiming the token file: %w", err)
	}
	return release, nil
}

func (s *fileStore) Save(_ context.Context, c Credentials) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the token file: %w", err)
	}
	if err := s.replace(append(data, '\n')); err != nil {
		return fmt.Errorf("writing the token file: %w", err)
	}
	return nil
}

// replace puts data in the file's place, at once and for good: whoever reads
// sees the old document or the new one, and the new one survives a loss of
// power.
func (s *fileStore) replace(data []byte) error {
	path, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return err
	}
	return WriteFile(path, data)
}

// WriteFile writes a file that only its owner can read, replacing what stood
// there in one step, and returns when it is durable.
func WriteFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".tokens-*") // with mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
