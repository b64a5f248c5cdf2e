package tokens

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func stored(n string, expires time.Time) Credentials {
	return Credentials{ClientID: "id", ClientSecret: "secret", AccessToken: "access-" + n, RefreshToken: "refresh-" + n, ExpiresAt: expires.UTC().Truncate(time.Second)}
}

// Two ways to one file are one file: who refreshes by one keeps out who comes by the other.
func TestAFileHasOneLockWhateverLeadsToIt(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "whoop.json"), filepath.Join(t.TempDir(), "link.json")
	linkedDir := filepath.Join(t.TempDir(), "dir")
	if err := errors.Join(os.Symlink(path, link), os.Symlink(dir, linkedDir)); err != nil {
		t.Fatal(err)
	}
	c := stored("0", time.Now())
	if err := NewFileStore(path).Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	release, err := NewFileStore(link).Claim(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{path, link, filepath.Join(linkedDir, "whoop.json")} {
		second, err := os.OpenFile(path+".lock", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Flock(int(second.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
			t.Errorf("%s: the lock is free: %v", other, err)
		}
		second.Close()
	}
	release()
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(link), "*.lock")); len(left) > 0 {
		t.Errorf("locks beside the link: %v", left)
	}
}

func TestWhatIsNoTokenFileIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	c := stored("0", time.Now())
	if err := NewFileStore(at("one.json")).Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.Symlink(at("nowhere.json"), at("dangling.json")), syscall.Mkfifo(at("fifo"), 0o600), os.Mkdir(at("directory"), 0o700),
		os.Link(at("one.json"), at("two.json")),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"dangling.json": "a symbolic link that leads nowhere", "fifo": "it is no file", "directory": "it is no file", "two.json": "has 2 names (hard links)",
	} {
		store := NewFileStore(at(name))
		_, loadErr := store.Load(t.Context())
		_, claimErr := store.Claim(t.Context(), c)
		for what, err := range map[string]error{"load": loadErr, "claim": claimErr, "save": store.Save(t.Context(), c)} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s: %v", what, name, err)
			}
		}
	}
	if info, err := os.Lstat(at("dangling.json")); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the dangling link was replaced: %v", err)
	}
}

func TestRotationKeepsOwnerGroupAndMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "whoop.json")
	if err := NewFileStore(path).Save(t.Context(), stored("0", time.Now())); err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 { // as when root runs a sync of somebody else's
		uid, gid = 1000, 1001
	}
	if err := errors.Join(os.Chown(path, uid, gid), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	if err := NewFileStore(path).Save(t.Context(), stored("1", time.Now())); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); int(stat.Uid) != uid || int(stat.Gid) != gid || info.Mode().Perm() != 0o640 {
		t.Errorf("owner %d, group %d, mode %v", stat.Uid, stat.Gid, info.Mode())
	}
}

// A process that is killed after it has written a new pair and before that is in its place loses nothing.
func TestAPairThatAKilledProcessLeftIsTaken(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		left []Credentials
		text string // of one more
		want string // the refresh token
	}{
		"newer":              {left: []Credentials{stored("1", now.Add(time.Hour))}, want: "refresh-1"},
		"older":              {left: []Credentials{stored("1", now.Add(-time.Hour))}, want: "refresh-0"},
		"the newest of two":  {left: []Credentials{stored("2", now.Add(2*time.Hour)), stored("1", now.Add(time.Hour))}, want: "refresh-2"},
		"of another client":  {left: []Credentials{{ClientID: "other", ClientSecret: "s", AccessToken: "a", RefreshToken: "r", ExpiresAt: now.Add(time.Hour)}}, want: "refresh-0"},
		"cut off":            {text: `{"client_id":"id","client_sec`, want: "refresh-0"},
		"written just as is": {left: []Credentials{stored("0", now)}, want: "refresh-0"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "whoop.json")
		c := stored("0", now)
		if err := NewFileStore(path).Save(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		write := func(data []byte) {
			f, err := os.CreateTemp(dir, pending(path))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(data); err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		for _, l := range tt.left {
			data, err := mergeDocument(nil, l)
			if err != nil {
				t.Fatal(err)
			}
			write(data)
		}
		if tt.text != "" {
			write([]byte(tt.text))
		}
		store := NewFileStore(path)
		release, err := store.Claim(t.Context(), c)
		if replaced := tt.want != "refresh-0"; errors.Is(err, ErrReplaced) != replaced || err != nil && !replaced {
			t.Errorf("%s: claim: %v", name, err)
		}
		if err == nil {
			release()
		}
		if got, err := store.Load(t.Context()); err != nil || got.RefreshToken != tt.want {
			t.Errorf("%s: %s, %v", name, got.RefreshToken, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".*.new")); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

func TestATokenFileMayBeginWithAByteOrderMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "whoop.json")
	if err := os.WriteFile(path, []byte("\ufeff"+`{"client_id":"id","client_secret":"s","refresh_token":"r","other":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	store := NewFileStore(path)
	c, err := store.Load(t.Context())
	if err != nil || c.RefreshToken != "r" {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := store.Save(t.Context(), stored("1", time.Now())); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), `"other": 1`) {
		t.Errorf("%s, %v", data, err)
	}
}
