package main

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// A talkativePostgres asks for a password and repeats it when it refuses it.
func talkativePostgres(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go repeatPassword(conn)
		}
	}()
	return listener.Addr().String()
}

func repeatPassword(conn net.Conn) {
	defer conn.Close()
	server := pgproto3.NewBackend(conn, conn)
	if _, err := server.ReceiveStartupMessage(); err != nil {
		return
	}
	server.Send(&pgproto3.AuthenticationCleartextPassword{})
	if server.Flush() != nil || server.SetAuthType(pgproto3.AuthTypeCleartextPassword) != nil {
		return
	}
	message, err := server.Receive()
	if err != nil {
		return
	}
	password, ok := message.(*pgproto3.PasswordMessage)
	if !ok {
		return
	}
	server.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "XX000", Message: "I dislike the password <" + password.Password + ">"})
	_ = server.Flush() // a client that has gone shows in the test
}

// A password that an environment variable puts into a URI is in no output of any verb,
// whether the variable holds the password, a part of the URI or all of it.
func TestAPasswordFromTheEnvironmentIsNotPrinted(t *testing.T) {
	address := talkativePostgres(t)
	const written, password = "open%2Fsesame%20mountain", "open/sesame mountain"
	for name, tc := range map[string]struct{ uri, variable string }{
		"the password":            {"postgres://me:${SECRET}@" + address + "/lake?sslmode=disable", written},
		"a part of the password":  {"postgres://me:open%2F${SECRET}@" + address + "/lake?sslmode=disable", "sesame%20mountain"},
		"who asks":                {"postgres://${SECRET}@" + address + "/lake?sslmode=disable", "me:" + written},
		"a parameter":             {"postgres://me@" + address + "/lake?sslmode=disable&password=${SECRET}", written},
		"all":                     {"${SECRET}", "postgres://me:" + written + "@" + address + "/lake?sslmode=disable"},
		"a URI that is malformed": {"postgres://me:${SECRET}%zz@" + address + "/lake?sslmode=disable", written},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := protocoltest.File(t, map[string]any{
				"warehouse": "file://" + t.TempDir(), "catalog": map[string]any{"type": "postgres", "uri": tc.uri},
			})
			catalog := protocoltest.File(t, `{"streams":[{"stream":{"name":"s","json_schema":{}},"sync_mode":"full_refresh","destination_sync_mode":"append"}]}`)
			for verb, args := range map[string][]string{
				"check": nil, "write": {"--catalog", catalog}, "state": {"--catalog", catalog}, "tables": nil, "preview": {"whoop.s"}, "maintain": nil,
				"relocate": {"--from", "/elsewhere"}, "reset": {"whoop.s"}, "rollback": {"whoop.s"}, "drop": {"whoop.s"},
			} {
				var out bytes.Buffer
				env := cli.Env{
					Args: append([]string{verb, "--config", config}, args...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
					Getenv: func(name string) string {
						return map[string]string{"SECRET": tc.variable, "LOG_LEVEL": "DEBUG"}[name]
					},
				}
				code := run(t.Context(), env)
				if code == 0 && verb != "check" {
					t.Errorf("%s: exit code 0: %s", verb, &out)
				}
				if want := "I dislike the password"; name != "a URI that is malformed" && !strings.Contains(out.String(), want) {
					t.Errorf("%s does not say what the server says: %s", verb, &out)
				}
				for _, secret := range []string{password, written, "sesame"} {
					if strings.Contains(out.String(), secret) {
						t.Errorf("%s prints %q: %s", verb, secret, &out)
					}
				}
			}
		})
	}
}
