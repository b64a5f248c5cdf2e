package tokens

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// A fileStore keeps credentials as one JSON document in a file that many
// processes of one machine may share.
type fileStore struct {
	path    string
	claimed *fileClaim // by this store; nil: it is not
}

// A fileClaim is a token file under the lock, as it was found.
type fileClaim struct {
	target   string
	document []byte
}

// NewFileStore returns a store over the token file at path. A symbolic link is
// followed. Beside the file that it leads to lies an empty one of the same name
// and ".lock", which the process that refreshes holds. The directory must be
// writable: the file is replaced, never written into.
func NewFileStore(path string) Store { return &fileStore{path: path} }

func (s *fileStore) Load(context.Context) (Credentials, error) {
	target, err := resolve(s.path)
	var c Credentials
	if err == nil {
		_, c, err = readDocument(target)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotStored
	}
	return c, s.wrap("reading", err)
}

func readDocument(target string) ([]byte, Credentials, error) {
	data, err := os.ReadFile(target)
	if err != nil {
		return nil, Credentials{}, explainRead(err)
	}
	c, err := parseDocument(data)
	return data, c, err
}

// wrap adds the file to an error.
func (s *fileStore) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s the token file %s: %w", doing, s.path, err)
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

// Claim locks the lock file. The system releases the lock when the process dies. Claim
// also replaces the token file with a copy of itself, so that a directory that is full
// or read-only is noticed before a token is spent.
func (s *fileStore) Claim(ctx context.Context, c Credentials) (func(refused bool), error) {
	target, unlock, err := s.lock(ctx)
	if err != nil {
		return nil, s.wrap("claiming", err)
	}
	if err := recoverPair(target); err != nil {
		unlock()
		return nil, s.wrap("claiming", err)
	}
	document, stored, err := readDocument(target)
	if err == nil && !stored.same(c) {
		err = ErrReplaced
	}
	if err == nil {
		err = replaceFile(target, document, otherMark)
	}
	if err != nil {
		unlock()
		return nil, s.wrap("claiming", err)
	}
	s.claimed = &fileClaim{target, document}
	return func(bool) { s.claimed = nil; unlock() }, nil
}

// Check claims what is stored, if nobody else does.
func (s *fileStore) Check(ctx context.Context) error {
	c, err := s.Load(ctx)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, slowClaim)
	defer cancel()
	release, err := s.Claim(waiting, c)
	switch {
	case err == nil:
		release(false)
	case errors.Is(err, ErrReplaced), waiting.Err() != nil && ctx.Err() == nil:
		return nil
	}
	return err
}

// lock waits until no other process holds the file that the path leads to, and
// returns that.
func (s *fileStore) lock(ctx context.Context) (target string, unlock func(), err error) {
	if target, err = resolve(s.path); err != nil {
		return "", nil, err
	}
	if err := makeLock(target); err != nil {
		return "", nil, err
	}
	lock := flock.New(lockOf(target), flock.SetFlag(os.O_RDWR))
	for {
		locked, err := lock.TryLock()
		if err != nil {
			return "", nil, err
		}
		if locked {
			return target, func() { lock.Unlock() }, nil //nolint:errcheck // nothing was written; closing unlocks
		}
		if err := sleep(ctx, claimPoll); err != nil {
			return "", nil, err
		}
	}
}

func lockOf(target string) string { return target + ".lock" }

// makeLock makes the lock file, for whoever may use the token file: one made in
// a run as root must not lock the others out.
func makeLock(target string) error {
	lock, err := os.OpenFile(lockOf(target), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return explainReplace(target, err)
	}
	info, err := os.Stat(target)
	switch {
	case err == nil:
		err = keepOwner(lock, info, info.Mode().Perm()|0o600)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	return errors.Join(err, lock.Close())
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

// Save without a claim waits for the refresh of another process, which would
// otherwise undo it.
func (s *fileStore) Save(ctx context.Context, c Credentials) error {
	if s.claimed != nil {
		return s.wrap("writing", saveDocument(s.claimed.target, s.claimed.document, c))
	}
	target, unlock, err := s.lock(ctx)
	if err != nil {
		return s.wrap("writing", err)
	}
	defer unlock()
	document, _, err := readDocument(target)
	if err != nil && document == nil && !errors.Is(err, fs.ErrNotExist) {
		return s.wrap("writing", err)
	}
	return s.wrap("writing", saveDocument(target, document, c))
}

func saveDocument(target string, document []byte, c Credentials) error {
	old, _ := parseDocument(document) // what holds no pair has no successor to be looked for
	data, err := mergeDocument(document, c)
	if err != nil {
		return err
	}
	return replaceFile(target, append(data, '\n'), markOf(old))
}

// markOf marks what takes a pair's place while it is written.
func markOf(c Credentials) string {
	digest := sha256.Sum256([]byte(c.RefreshToken))
	return hex.EncodeToString(digest[:8])
}

// recoverPair uses the pair that a killed process had written but not yet moved to the
// token file: the one in the token file is spent. It removes all other leftovers. The
// caller holds the lock.
func recoverPair(target string) error {
	dir := filepath.Dir(target)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return withoutPath(err)
	}
	for _, entry := range entries {
		mark, ok := pendingMark(target, entry.Name())
		if !ok {
			continue
		}
		_, stored, err := readDocument(target)
		if err != nil {
			return err
		}
		left := filepath.Join(dir, entry.Name())
		if mark == markOf(stored) {
			if err := takePair(target, left, stored); err != nil {
				return err
			}
		}
		// What another user left, and nobody needs, may stay.
		if err := os.Remove(left); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// takePair puts a pair that was left in the place of the stored one, if it is
// whole and another.
func takePair(target, left string, stored Credentials) error {
	data, err := os.ReadFile(left)
	if err != nil {
		return fmt.Errorf("a process that was killed left the only good tokens in a file of its own: %w; start once as that file's owner", err)
	}
	if c, err := parseDocument(data); err != nil || c.same(stored) {
		return nil //nolint:nilerr // the process was killed before it had written anything
	}
	return replaceFile(target, data, markOf(stored))
}
