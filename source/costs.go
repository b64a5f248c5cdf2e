package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// The costs are those of two years in which each collection gets a record a day.
const (
	costDays   = 2 * 365
	walkCost   = (costDays + whoop.PageSize - 1) / whoop.PageSize
	objectCost = 1
)

// printCosts prints about how many requests each stream takes in a first sync: they are
// what WHOOP limits.
func printCosts(w io.Writer, c protocol.ConfiguredCatalog) error {
	var text bytes.Buffer
	fmt.Fprint(&text, "About how many requests the first sync of two years makes. WHOOP allows 100 a minute and 10,000 a day.\n\n")
	total, drilldowns := 0, 0
	firstOf := map[string]string{} // stream by collection
	for _, configured := range c.Streams {
		s := streams[slices.Index(streamNames(), configured.Stream.Name)]
		cost := objectCost
		var notes []string
		if s.incremental() {
			cost = walkCost
		}
		if first, shared := firstOf[s.collection]; shared && s.incremental() {
			notes = append(notes, "the same ones as "+first)
		} else {
			firstOf[s.collection] = s.name
			total += cost
		}
		if s.child != "" {
			drilldowns += costDays
			notes = append(notes, fmt.Sprintf(`%d more with "drilldowns": "request"`, costDays))
		}
		fmt.Fprintln(&text, strings.TrimSpace(fmt.Sprintf("%-18s %5d  %s", s.name, cost, strings.Join(notes, "; "))))
	}
	fmt.Fprintf(&text, "%-18s %5d  %s\n", "together", total, timeFor(total))
	if drilldowns > 0 {
		fmt.Fprintf(&text, "%-18s %5d  %s\n", "with request", total+drilldowns, timeFor(total+drilldowns))
	}
	_, err := w.Write(text.Bytes())
	return err
}

// timeFor says how long requests take at the default rate.
func timeFor(requests int) string {
	rate := config.Default().RequestsPerSecond
	length := time.Duration(float64(requests) / rate * float64(time.Second))
	return fmt.Sprintf("%v at %v a second", length.Round(time.Second), rate)
}
