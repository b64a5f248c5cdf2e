package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	sf "github.com/snowflakedb/gosnowflake/v2"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snowflake/snowflaketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

const (
	asDestination         = "TEST_BINARY_IS_DESTINATION"
	asDestinationInBubble = "TEST_BINARY_IS_DESTINATION_IN_BUBBLE"
)

var argsInBubble []string

// The test's own program is the destination where the environment says so, so that
// none need be built. In a bubble of time it is so within a test, which the
// environment names.
func init() {
	if os.Getenv(asDestination) != "" {
		main()
	}
	if test := os.Getenv(asDestinationInBubble); test != "" {
		argsInBubble, os.Args = os.Args[1:], []string{os.Args[0], "-test.run=^" + test + "$"}
	}
}

// mainInBubble is main in a process in which waiting takes no time.
func mainInBubble(t *testing.T) {
	// Snowflake's driver starts a goroutine for the whole process when it first connects,
	// for which it needs no answer.
	nowhere, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sf.NewConnector(sf.SnowflakeDriver{}, sf.Config{
		Account: "none", User: "nobody", Password: "none", DisableOCSPChecks: true, CertRevocationCheckMode: sf.CertRevocationCheckAdvisory,
	}).Connect(nowhere); err == nil {
		t.Fatal("a connection to nowhere")
	}
	code := 0
	synctest.Test(t, func(t *testing.T) {
		code = newDestination().run(t.Context(), cli.Env{Args: argsInBubble, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv})
		time.Sleep(time.Hour) // what the driver left behind gives up
	})
	os.Exit(code)
}

// s3Account is an account of Snowflake that reads the tables behind an S3 endpoint.
func s3Account(t *testing.T, endpoint string) *snowflaketest.Account {
	t.Helper()
	account := snowflaketest.New(t, "myorg-account")
	account.Read = func(location string) ([]snowflaketest.Column, error) {
		return snowflaketest.Read(location, func(location string) ([]byte, error) { return getObject(endpoint, location) })
	}
	account.Users["LOADER"] = &snowflaketest.User{Token: "pat", Roles: []string{"LOADERS"}}
	if err := account.Run(fmt.Sprintf(snowflakeSetup, "s3://"+s3test.Bucket+"/lake/")); err != nil {
		t.Fatal(err)
	}
	return account
}

// getObject reads an object as Snowflake does, with credentials of its own.
func getObject(endpoint, location string) ([]byte, error) {
	response, err := http.Get(endpoint + "/" + strings.TrimPrefix(location, "s3://"))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return io.ReadAll(response.Body)
}

// shownS3Lake is a lake on S3 that an account shows.
func shownS3Lake(t *testing.T, account *snowflaketest.Account, endpoint, auth string) *lakeUnderTest {
	t.Helper()
	return &lakeUnderTest{t: t, d: unsignalled(), config: protocoltest.File(t, fmt.Sprintf(
		`{"warehouse":"s3://%s/lake","catalog":{"type":"sqlite","path":"%s/catalog.db"},"storage":%s,"commit":{"max_rows":1},
		"snowflake":{"mode":"register","account":"myorg-account","user":"loader","role":"loaders","endpoint":%q,"database":"lake","catalog_integration":"i","external_volume":"v","auth":%s}}`,
		s3test.Bucket, t.TempDir(), s3test.Config(endpoint), account.URL, auth))}
}

// expectNewest fails unless Snowflake shows the newest rows of the table.
func (l *lakeUnderTest) expectNewest(account *snowflaketest.Account, endpoint string) {
	l.t.Helper()
	var tables []struct {
		Location string `json:"metadata_location"`
	}
	if err := json.Unmarshal([]byte(l.succeeds("", "tables", "--json")), &tables); err != nil || len(tables) != 1 {
		l.t.Fatalf("%v, %v", tables, err)
	}
	location, _ := account.Table("LAKE", "AIRBYTE", "ITEMS")
	var snapshots []int64
	for _, location := range []string{location, tables[0].Location} {
		text, err := getObject(endpoint, location)
		if err != nil {
			l.t.Fatalf("%q: %v", location, err)
		}
		var metadata struct {
			Snapshot int64 `json:"current-snapshot-id"`
		}
		if err := json.Unmarshal(text, &metadata); err != nil {
			l.t.Fatal(err)
		}
		snapshots = append(snapshots, metadata.Snapshot)
	}
	if snapshots[0] != snapshots[1] {
		l.t.Errorf("Snowflake shows snapshot %d, and the table has %d", snapshots[0], snapshots[1])
	}
}

// process runs the destination in a process of its own, and calls started with it.
func (l *lakeUnderTest) process(input string, started func(*os.Process), args ...string) (stdout string, err error) {
	l.t.Helper()
	return l.processAs(asDestination+"=1", input, started, args...)
}

// processAs is process with a variable in the environment.
func (l *lakeUnderTest) processAs(variable, input string, started func(*os.Process), args ...string) (stdout string, err error) {
	l.t.Helper()
	program, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.CommandContext(l.t.Context(), program, append(args, "--config", l.config)...)
	cmd.Env = append(os.Environ(), variable)
	cmd.Stdin = strings.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	started(cmd.Process)
	err = cmd.Wait()
	return out.String(), err
}

// A process may be killed, or told to stop, before or after Snowflake does what a
// statement says. What was acknowledged is there, once, and the next sync shows it.
func TestKilledWhileSnowflakeIsTold(t *testing.T) {
	statements := []string{snowflaketest.Login, "SELECT CURRENT_ROLE", "SELECT SYSTEM$GET", "CREATE ICEBERG TABLE", "ALTER ICEBERG TABLE", "DESCRIBE ICEBERG TABLE"}
	for i, statement := range statements {
		for j, fault := range []snowflaketest.Fault{snowflaketest.DropBefore, snowflaketest.DropAfter} {
			for k, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
				if (3*i+2*j+k)%testsize.Of(4, 1) > 0 {
					continue // each statement is left, and each way in which its process ends
				}
				t.Run(fmt.Sprintf("%v %s %s", signal, map[snowflaketest.Fault]string{snowflaketest.DropBefore: "before", snowflaketest.DropAfter: "after"}[fault], statement), func(t *testing.T) {
					t.Parallel()
					endpoint := s3test.Start(nil)
					account := s3Account(t, endpoint)
					l := shownS3Lake(t, account, endpoint, `{"type":"pat","token":"pat"}`)
					stream := l.stream(protocol.Append, 0, 0, "")
					want := []string{`{"id":2,"v":"b"}`}
					if statement == "ALTER ICEBERG TABLE" {
						l.write(stream, records(`{"id":1,"v":"a"}`)+stateOf(1)+fedComplete)
						l.expectNewest(account, endpoint)
						want = append([]string{`{"id":1,"v":"a"}`}, want...)
					}
					process := make(chan *os.Process, 1)
					var once sync.Once
					account.Fault = func(sent string) snowflaketest.Fault {
						met := snowflaketest.None
						if strings.HasPrefix(sent, statement) {
							once.Do(func() {
								if err := (<-process).Signal(signal); err != nil {
									t.Error(err)
								}
								met = fault
							})
						}
						return met
					}
					began := time.Now()
					out, err := l.process(records(`{"id":2,"v":"b"}`)+stateOf(2)+fedComplete, func(p *os.Process) { process <- p }, "write", "--catalog", stream)
					if signal == syscall.SIGKILL && err == nil {
						t.Error("the process was not killed")
					}
					if took := time.Since(began); took > 30*time.Second {
						t.Errorf("it ended after %v", took)
					}
					if !strings.Contains(out, `"stream_state":{"n":2}`) {
						t.Errorf("the state was not echoed before Snowflake was told: %v: %s", err, out)
					}
					l.expectRows(want...)
					l.expectState(stream, `{"n":2}`)
					l.write(stream, stateOf(3)+fedComplete)
					l.expectNewest(account, endpoint)
					l.expectRows(want...)
				})
			}
		}
	}
}
