package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
)

// smallFiles is how many files each table has when its maintenance merges them.
const smallFiles = 16

// latency is what each request to S3 takes longer than versitygw on this machine does.
const latency = 20 * time.Millisecond

// late passes requests on as late as S3 gets them.
func late(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(latency)
		next.ServeHTTP(w, r)
	})
}

// manyTables measures syncs of many tables on S3, each with a record for every table: one
// without maintenance, and one whose maintenance merges the files of all tables. Then it
// measures the maintain command, which looks for orphans of all tables.
func manyTables(ctx context.Context, store *servers.Server, dir string, numbers []string) error {
	far := httptest.NewServer(servers.Front(store.Endpoint, late))
	defer far.Close()
	storage := maps.Clone(store.Storage())
	storage["endpoint"] = far.URL
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "tables on S3\tsync s\tpeak MB\twith maintenance s\tpeak MB\tmaintain s\tpeak MB\t")
	for _, number := range numbers {
		n, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		took, err := syncsOfTables(ctx, storage, dir, n)
		if err != nil {
			return fmt.Errorf("syncing %d tables: %w", n, err)
		}
		fmt.Fprintf(table, "%d\t", n)
		for _, s := range took {
			fmt.Fprintf(table, "%.1f\t%d\t", s.seconds, s.peak>>20)
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

func syncsOfTables(ctx context.Context, storage map[string]any, dir string, tables int) (took []sample, err error) {
	database := filepath.Join(dir, "tables.db")
	if err := os.RemoveAll(database); err != nil {
		return nil, err
	}
	lake := map[string]any{
		"warehouse": fmt.Sprintf("s3://%s/%d", servers.Bucket, time.Now().UnixNano()), "namespace": "bench", "commit": map[string]any{"max_rows": 1},
		"storage": storage, "catalog": map[string]any{"type": "sqlite", "path": database},
	}
	config, catalog := filepath.Join(dir, "tables.json"), filepath.Join(dir, "tables.catalog.json")
	var streams []any
	var once bytes.Buffer // a record and a state for each stream
	for i := range tables {
		name := fmt.Sprintf("s%d", i)
		streams = append(streams, map[string]any{"sync_mode": "incremental", "destination_sync_mode": "append", "stream": map[string]any{
			"name": name, "json_schema": map[string]any{"properties": map[string]any{"id": map[string]any{"type": "integer"}}},
		}})
		fmt.Fprintf(&once, `{"type":"RECORD","record":{"stream":%q,"emitted_at":1700000000000,"data":{"id":1}}}`+"\n", name)
	}
	for i := range tables {
		fmt.Fprintf(&once, `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"s%d"},"stream_state":{"n":1}}}}`+"\n", i)
	}
	if err := writeJSON(catalog, map[string]any{"streams": streams}); err != nil {
		return nil, err
	}
	run := func(maintenance bool, stdin []byte, args ...string) (sample, error) {
		lake["maintenance"] = map[string]any{"on_write": maintenance, "budget_seconds": 3600}
		if err := writeJSON(config, lake); err != nil {
			return sample{}, err
		}
		cmd := exec.CommandContext(ctx, "bin/destination", append(args, "--config", config)...)
		cmd.Stdin = bytes.NewReader(stdin)
		start := time.Now()
		_, s, err := measure(cmd)
		s.seconds = time.Since(start).Seconds()
		return s, err
	}
	if _, err := run(false, bytes.Repeat(once.Bytes(), smallFiles-2), "write", "--catalog", catalog); err != nil {
		return nil, err
	}
	without, err1 := run(false, once.Bytes(), "write", "--catalog", catalog)
	with, err2 := run(true, once.Bytes(), "write", "--catalog", catalog)
	maintain, err3 := run(true, nil, "maintain")
	return []sample{without, with, maintain}, errors.Join(err1, err2, err3)
}

func writeJSON(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
