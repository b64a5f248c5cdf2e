package tokens

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A fileStore keeps credentials as one JSON document in a file that many
// processes of one machine may share.
type fileStore struct {
	path     string
	document []byte // as it was when it was claimed; nil: it is not
}

// NewFileStore returns a store over the token file at path. Beside it lies
// path.lock, empty, which the process that refreshes holds. The directory must
// be writable: the file is replaced, never written into. A symbolic link is
// followed.
func NewFileStore(path string) Store { return &fileStore{path: path} }

func (s *fileStore) Load(context.Context) (Credentials, error) {
	_, c, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("reading the token file %s: %w", s.path, ErrNotStored)
	}
	if err != nil {
		return c, fmt.Errorf("reading the token file %s: %w", s.path, err)
	}
	return c, nil
}

func (s *fileStore) read() ([]byte, Credentials, error) {
	data, err := os.ReadFile(s.path)
	if err != nil {
		return nil, Credentials{}, withoutPath(err)
	}
	c, err := parseDocument(data)
	return data, c, err
}

// withoutPath is for errors that are about to be given the path.
func withoutPath(err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	return err
}

// claimPoll is how often a process that waits for another's refresh looks again.
const claimPoll = 20 * time.Millisecond

// Claim takes the lock of the lock file, which the system gives back when the
// process dies. It also writes the file anew as it is: a directory that is full
// or read-only is found out before it matters.
func (s *fileStore) Claim(ctx context.Context, c Credentials) (func(), error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("claiming the token file %s: %w", s.path, err)
	}
	document, stored, err := s.read()
	if err == nil && !stored.same(c) {
		err = ErrReplaced
	}
	if err == nil {
		err = WriteFile(s.path, document)
	}
	if err != nil {
		unlock()
		return nil, fmt.Errorf("claiming the token file %s: %w", s.path, err)
	}
	s.document = document
	return func() { s.document = nil; unlock() }, nil
}

func (s *fileStore) lock(ctx context.Context) (unlock func(), err error) {
	lock, err := os.OpenFile(s.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	unlock = func() { lock.Close() } //nolint:errcheck // nothing was written; closing unlocks
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return unlock, nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			unlock()
			return nil, err
		}
		if err := sleep(ctx, claimPoll); err != nil {
			unlock()
			return nil, err
		}
	}
}

// sleep waits, unless the context ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (s *fileStore) Save(_ context.Context, c Credentials) error {
	document := s.document
	if document == nil {
		var err error
		if document, err = os.ReadFile(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("writing the token file %s: %w", s.path, withoutPath(err))
		}
	}
	data, err := mergeDocument(document, c)
	if err == nil {
		err = WriteFile(s.path, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("writing the token file %s: %w", s.path, err)
	}
	return nil
}

// WriteFile writes a file that only its owner can read and returns when it is
// durable: whoever reads sees what stood there before or the new content, and
// the new content survives a loss of power. Where path is a symbolic link, the
// file it leads to is replaced.
func WriteFile(path string, data []byte) error {
	target, err := filepath.EvalSymlinks(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		target = path
	case err != nil:
		return err
	}
	dir := filepath.Dir(target)
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
		err = os.Rename(tmp.Name(), target)
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
