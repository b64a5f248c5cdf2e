package main

import (
	"bytes"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/destinationtest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// The scripts run the program as its users do.
func TestScripts(t *testing.T) {
	if err := laketest.StartZstd(); err != nil {
		t.Fatal(err)
	}
	d := unsignalled()
	destinationtest.Scripts(t, "testdata/script", func(args []string, stdin []byte) (_, _ []byte, code int) {
		var stdout, stderr bytes.Buffer
		code = d.run(t.Context(), cli.Env{Args: args, Stdin: bytes.NewReader(stdin), Stdout: &stdout, Stderr: &stderr})
		return stdout.Bytes(), stderr.Bytes(), code
	}, nil)
}
