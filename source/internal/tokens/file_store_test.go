package tokens

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
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
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // it is not waited for
		if _, err := NewFileStore(other).Claim(ctx, c); !errors.Is(err, context.Canceled) {
			t.Errorf("%s can be claimed twice: %v", other, err)
		}
	}
	release(false)
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
		os.Link(at("one.json"), at("two.json")), os.Symlink(os.DevNull, at("device")),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"dangling.json": "a symbolic link that leads nowhere", "fifo": "it is a named pipe", "directory": "it is a directory", "device": "it is a device", "two.json": "has 2 names (hard links)",
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
	if info, err = os.Stat(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); int(stat.Uid) != uid || int(stat.Gid) != gid || info.Mode().Perm() != 0o640 {
		t.Errorf("the lock: owner %d, group %d, mode %v", stat.Uid, stat.Gid, info.Mode())
	}
}

func TestAFileThatCannotBeReplacedIsExplained(t *testing.T) {
	rename := func(err error) error {
		return &os.LinkError{Op: "rename", Old: "/secrets/.whoop.json-1.new", New: "/secrets/whoop.json", Err: err}
	}
	create := func(err error) error { return &fs.PathError{Op: "open", Path: "/secrets/.whoop.json-1.new", Err: err} }
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"a file mounted by itself":  {rename(syscall.EBUSY), "it is mounted by itself and so cannot be replaced; mount its directory instead (rename"},
		"a read-only mount":         {create(syscall.EROFS), "its directory /secrets is read-only; mount it writable"},
		"somebody else's directory": {create(syscall.EACCES), "may not make files in its directory /secrets"},
		"a sticky directory":        {rename(syscall.EPERM), "may not make files in its directory /secrets"},
		"a full disk":               {create(syscall.ENOSPC), "there is no space left in its directory /secrets; free some"},
		"a spent quota":             {create(syscall.EDQUOT), "there is no space left in its directory /secrets; free some"},
		"no directory":              {create(syscall.ENOENT), "its directory /secrets does not exist; make it"},
		"a file as directory":       {create(syscall.ENOTDIR), "its directory /secrets does not exist; make it"},
		"anything else":             {create(syscall.EIO), "open /secrets/.whoop.json-1.new: input/output error"},
	} {
		if err := explainReplace("/secrets/whoop.json", tt.err); !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFileThatCannotBeReadIsExplained(t *testing.T) {
	for errno, want := range map[error]string{
		syscall.EACCES: "the user of this process, " + osfile.User() + ", may not read it; allow that (permission denied)",
		syscall.EIO:    "input/output error",
	} {
		err := explainRead(&fs.PathError{Op: "open", Path: "/secrets/whoop.json", Err: errno})
		if !errors.Is(err, errno) || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// What cannot be written is known before anything is lost.
func TestCheckWritableLeavesEverythingAsItIs(t *testing.T) {
	dir := t.TempDir()
	there, gone := filepath.Join(dir, "there.json"), filepath.Join(dir, "gone.json")
	if err := errors.Join(os.WriteFile(there, []byte("{}"), 0o640), os.Chmod(there, 0o640)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		there: "", gone: "", dir: "it is a directory",
		filepath.Join(dir, "nowhere", "a.json"):        "its directory " + filepath.Join(dir, "nowhere") + " does not exist",
		filepath.Join(dir, "there.json", "a.json"):     "not a directory",
		filepath.Join(dir, strings.Repeat("x", 1_000)): "file name too long",
	} {
		if err := CheckWritable(path); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	data, err := os.ReadFile(there)
	info, serr := os.Stat(there)
	entries, derr := os.ReadDir(dir)
	if err := errors.Join(err, serr, derr); err != nil || string(data) != "{}" || info.Mode().Perm() != 0o640 || len(entries) != 1 {
		t.Errorf("%s, %v, %v, %v", data, info.Mode(), entries, err)
	}
}

// A name that begins like another's is another's.
func TestPendingFilesOfOtherFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "whoop.json"), filepath.Join(dir, "whoop.json-of-alice")
	c := stored("0", time.Now())
	if err := NewFileStore(path).Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(dir, strings.ReplaceAll(pendingName(other, markOf(c)), "*", "1"))
	if err := os.WriteFile(theirs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	release, err := NewFileStore(path).Claim(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	release(false)
	if _, err := os.Stat(theirs); err != nil {
		t.Error(err)
	}
}

// A process that is killed after it has written a new pair and before that is in its place loses nothing. Whether the pair
// is the newer one no clock tells: it is if it was to replace the one that is there.
func TestAPairThatAKilledProcessLeftIsTaken(t *testing.T) {
	now := time.Now()
	reformatted := []byte(`{"refresh_token":"refresh-0","access_token":"access-0","client_id":"id","client_secret":"secret","note":"by hand"}`)
	for name, tt := range map[string]struct {
		replaces, left Credentials
		cut            int // bytes that were not written
		file           []byte
		want           string // the refresh token
	}{
		"newer":                          {stored("0", now), stored("1", now.Add(time.Hour)), 0, nil, "refresh-1"},
		"newer by a clock that was late": {stored("0", now), stored("1", now.Add(-time.Hour)), 0, nil, "refresh-1"},
		"newer, of unknown expiry":       {stored("0", now), stored("1", time.Time{}), 0, nil, "refresh-1"},
		"the file was edited since":      {stored("0", now), stored("1", now), 0, reformatted, "refresh-1"},
		"of a pair that was replaced":    {stored("9", now), stored("1", now.Add(time.Hour)), 0, nil, "refresh-0"},
		"cut off":                        {stored("0", now), stored("1", now), 20, nil, "refresh-0"},
		"not written":                    {stored("0", now), stored("1", now), 1 << 20, nil, "refresh-0"},
		"the same pair":                  {stored("0", now), stored("0", now), 0, nil, "refresh-0"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "[a]*?") // no pattern
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "whoop.json")
			c := stored("0", now)
			if err := NewFileStore(path).Save(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if tt.file != nil {
				if err := os.WriteFile(path, tt.file, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			data, err := mergeDocument(nil, tt.left)
			if err != nil {
				t.Fatal(err)
			}
			left := filepath.Join(dir, strings.ReplaceAll(pendingName(path, markOf(tt.replaces)), "*", "1"))
			other := filepath.Join(dir, ".whoop.json-backup")
			if err := errors.Join(os.WriteFile(left, data[:max(0, len(data)-tt.cut)], 0o600), os.WriteFile(other, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			store := NewFileStore(path)
			release, err := store.Claim(t.Context(), c)
			if replaced := tt.want != "refresh-0"; errors.Is(err, ErrReplaced) != replaced || err != nil && !replaced {
				t.Errorf("claim: %v", err)
			}
			if err == nil {
				release(false)
			}
			if got, err := store.Load(t.Context()); err != nil || got.RefreshToken != tt.want {
				t.Errorf("%s, %v", got.RefreshToken, err)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 { // the file, its lock, and what is not ours
				t.Errorf("there are %v, %v", entries, err)
			}
		})
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

// A new pair that is durable, but not in its place, is found by the next claim. A copy of what is there is of no use.
func TestANewPairThatCannotBePutInItsPlaceIsKept(t *testing.T) {
	for mark, kept := range map[string]int{markOf(Credentials{RefreshToken: "refresh-0"}): 1, otherMark: 0} {
		dir := t.TempDir()
		target := filepath.Join(dir, "whoop.json")
		if err := os.Mkdir(target, 0o700); err != nil { // which no file can replace
			t.Fatal(err)
		}
		if err := replaceFile(target, []byte("{}"), mark); err == nil {
			t.Error("a directory was replaced")
		}
		left, err := filepath.Glob(filepath.Join(dir, ".whoop.json-"+mark+"-*.new"))
		if err != nil || len(left) != kept {
			t.Errorf("mark %s: left %q, %v", mark, left, err)
		}
	}
}
