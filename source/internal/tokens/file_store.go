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

// NewFileStore returns a store over the token file at path. Beside the file that
// it leads to lies one of the name and ".lock", empty, which the process that refreshes holds. The directory must
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
	target, err := resolve(s.path)
	if err != nil {
		return nil, Credentials{}, withoutPath(err)
	}
	data, err := os.ReadFile(target)
	if err != nil {
		return nil, Credentials{}, withoutPath(err)
	}
	c, err := parseDocument(data)
	return data, c, err
}

// resolve returns the file that a path leads to, through symbolic links, which
// need not be there yet: one file has one lock, whatever way leads to it. A file
// with a second name has none that is right, and what is no file cannot be
// replaced.
func resolve(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, lerr := os.Lstat(path); lerr == nil {
			return "", errors.New("it is a symbolic link that leads nowhere; put the file where it leads, or give the file's own path")
		}
		dir, derr := filepath.EvalSymlinks(filepath.Dir(path))
		if derr != nil {
			return "", derr
		}
		return filepath.Join(dir, filepath.Base(path)), nil
	}
	if err != nil {
		return "", err
	}
	info, err := os.Stat(target)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("it is no file (%s); give the path of a file", info.Mode().Type())
	case links(info) > 1:
		return "", fmt.Errorf("the file has %d names (hard links), of which a new pair would reach one; remove the others, or make them symbolic links", links(info))
	}
	return target, nil
}

func links(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink) //nolint:unconvert // its type depends on the platform
	}
	return 1
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
	if err := s.recover(); err != nil {
		unlock()
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

// recover takes up what a process that was killed left between writing a new
// pair and putting it in its place. It is called under the lock.
func (s *fileStore) recover() error {
	target, err := resolve(s.path)
	if err != nil {
		return withoutPath(err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(target), pending(target)))
	if err != nil || len(left) == 0 {
		return err
	}
	_, newest, err := s.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, path := range left {
		data, err := os.ReadFile(path)
		if err != nil {
			return withoutPath(err)
		}
		c, err := parseDocument(data)
		if err == nil && c.ClientID == newest.ClientID && c.RefreshToken != "" && c.ExpiresAt.After(newest.ExpiresAt) {
			if err := errors.Join(os.Rename(path, target), syncDir(filepath.Dir(target))); err != nil {
				return withoutPath(err)
			}
			newest = c
			continue
		}
		if err := os.Remove(path); err != nil { // cut off when it was written, or older
			return withoutPath(err)
		}
	}
	return nil
}

// pending matches the names of files that are written to take a file's place.
func pending(target string) string { return "." + filepath.Base(target) + "-*.new" }

func (s *fileStore) lock(ctx context.Context) (unlock func(), err error) {
	target, err := resolve(s.path)
	if err != nil {
		return nil, withoutPath(err)
	}
	lock, err := os.OpenFile(target+".lock", os.O_CREATE|os.O_RDWR, 0o600)
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
		if document, _, err = s.read(); err != nil && document == nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("writing the token file %s: %w", s.path, err)
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

// WriteFile writes a file and returns when it is durable: whoever reads sees
// what stood there before or the new content, and the new content survives a
// loss of power. Where path is a symbolic link, the file it leads to is
// replaced. A file that is there keeps its owner, group and mode; a new one can
// be read by its owner only.
func WriteFile(path string, data []byte) error {
	target, err := resolve(path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(target)
	tmp, err := os.CreateTemp(dir, pending(target)) // with mode 0600
	if err != nil {
		return err
	}
	if info, serr := os.Stat(target); serr == nil {
		err = likeBefore(tmp, info)
	} else if !errors.Is(serr, fs.ErrNotExist) {
		err = serr
	}
	if err == nil {
		_, err = tmp.Write(data)
	}
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

// likeBefore gives a file the owner, group and mode of the one it replaces: a
// run as root must not lock the owner out.
func likeBefore(f *os.File, before fs.FileInfo) error {
	stat, ok := before.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	now, err := f.Stat()
	if err != nil {
		return err
	}
	if own, ok := now.Sys().(*syscall.Stat_t); ok && (own.Uid != stat.Uid || own.Gid != stat.Gid) {
		if err := f.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
			return fmt.Errorf("keeping its owner: %w", err)
		}
	}
	return f.Chmod(before.Mode().Perm())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
