package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
)

// Postgres is a server of Debian's package. Its Endpoint is the URI of its superuser, who needs a
// password. It is a process of the user postgres, since PostgreSQL refuses to run as root.
func Postgres(ctx context.Context) (_ *Server, err error) {
	installed, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(installed) == 0 {
		return nil, errors.Join(errors.New("PostgreSQL is not installed: apt-get install postgresql"), err)
	}
	bin := slices.Max(installed)
	dir, err := os.MkdirTemp("", "postgres")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	const secret = "open sesame/#?@"
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(secret), 0o600); err != nil {
		return nil, err
	}
	as, err := unprivileged(dir, password)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "owner", "-A", "scram-sha-256", "--pwfile", password, "-E", "UTF8", "--locale", "C")
	initdb.Dir, initdb.SysProcAttr = dir, as
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", initdb, err, out)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	uri := url.URL{Scheme: "postgres", User: url.UserPassword("owner", secret), Host: address.String(), Path: "/postgres"}
	db, err := sql.Open("pgx", uri.String())
	if err != nil {
		return nil, err
	}
	defer db.Close()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-h", "127.0.0.1", "-p", strconv.Itoa(address.Port))
	cmd.Dir, cmd.SysProcAttr = dir, as
	s, err := start(ctx, "PostgreSQL", cmd, syscall.SIGINT, db.PingContext) // SIGINT is its fast shutdown
	if err != nil {
		return nil, err
	}
	s.Endpoint, s.remove = uri.String(), []string{dir}
	return s, nil
}

// unprivileged has a process run as the user postgres if this one is root, and gives the paths to
// that user.
func unprivileged(paths ...string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if err := os.Chown(path, int(uid), int(gid)); err != nil {
			return nil, err
		}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}
