//go:build acceptance

package acceptance

import (
	"bytes"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// startPostgres runs a server of Debian's package for the length of a test and returns the URI of
// its superuser, who needs a password. It is a process of the user postgres, since PostgreSQL
// refuses to run as root.
func startPostgres(t *testing.T) *url.URL {
	t.Helper()
	installed, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(installed) == 0 {
		t.Fatalf("PostgreSQL is not installed: apt-get install postgresql (%v)", err)
	}
	bin := slices.Max(installed)
	dir, err := os.MkdirTemp("", "acceptance-postgres") //nolint:usetesting // what t.TempDir makes is closed to the server's user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	as := &syscall.SysProcAttr{}
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("open sesame/#?@"), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		uid, gid := ids(t, "postgres")
		as.Credential = &syscall.Credential{Uid: uid, Gid: gid}
		for _, path := range []string{dir, password} {
			if err := os.Chown(path, int(uid), int(gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(t.Context(), filepath.Join(bin, "initdb"), "-D", data, "-U", "owner", "-A", "scram-sha-256", "--pwfile", password, "-E", "UTF8", "--locale", "C")
	initdb.Dir, initdb.SysProcAttr = dir, as
	if _, err := finish(initdb); err != nil {
		t.Fatal(err)
	}

	address := freeAddress(t)
	var log bytes.Buffer
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-h", "127.0.0.1", "-p", strconv.Itoa(address.Port))
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = dir, as, &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil { // PostgreSQL's fast shutdown
			t.Error(err)
		}
		if code := wait(t, cmd); code != 0 {
			t.Errorf("PostgreSQL ended with exit code %d: %s", code, last(log.Bytes(), 2000))
		}
	})
	u := &url.URL{Scheme: "postgres", User: url.UserPassword("owner", "open sesame/#?@"), Host: address.String(), Path: "/postgres"}
	db, err := sql.Open("pgx", u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if err := db.PingContext(t.Context()); err == nil {
			return u
		} else if time.Now().After(end) {
			t.Fatalf("PostgreSQL does not start: %v", err)
		}
	}
}

func ids(t *testing.T, name string) (uid, gid uint32) {
	t.Helper()
	account, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	number := func(text string) uint32 {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
	return number(account.Uid), number(account.Gid)
}

func freeAddress(t *testing.T) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr)
}

// The catalog's own tests that need a server, and what every kind of catalog can do.
func TestPostgresCatalog(t *testing.T) {
	server := startPostgres(t)
	for _, tests := range [][]string{{"./destination/internal/catalogs"}, {"-run", "^TestLakes$", "./destination"}} {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-count=1", "-tags", "acceptance"}, tests...)...)
		cmd.Dir = repository
		cmd.Env = append(os.Environ(), fmt.Sprintf("CATALOGS_POSTGRES=%s", server))
		if _, err := finish(cmd); err != nil {
			t.Error(err)
		}
	}
}
