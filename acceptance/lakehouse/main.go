// Command lakehouse runs an object store and an Iceberg REST catalog on loopback, for the demo. It writes a
// configuration of the destination that leads there, and runs until it is interrupted.
//
//	lakehouse CONFIG
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: lakehouse CONFIG")
		os.Exit(2)
	}
	if err := run(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "lakehouse:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, config string) (err error) {
	programs := servers.Programs(".cache")
	store, err := programs.VersityGW(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Stop()) }()
	catalog, err := programs.Nessie(ctx, store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, catalog.Stop()) }()
	text, err := json.MarshalIndent(map[string]any{
		"warehouse": servers.NessieWarehouse, "namespace": "whoop",
		"catalog": map[string]string{"type": "rest", "uri": catalog.Endpoint},
		"storage": store.Storage(),
	}, "", "  ")
	if err != nil {
		return err
	}
	// Whoever waits for the file must not see half of it.
	if err := errors.Join(os.WriteFile(config+".new", append(text, '\n'), 0o600), os.Rename(config+".new", config)); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
