package lake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// streamKey is the table property that holds whose rows the table has: the
// stream's name and namespace, as its source has them.
const streamKey = "airbyte.stream"

type owner struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func ownerOf(id protocol.StreamID) (string, error) {
	data, err := json.Marshal(owner(id))
	if err != nil {
		return "", fmt.Errorf("naming stream %s: %w", id, err)
	}
	return string(data), nil
}

// Owner is the stream whose rows a table holds; false when the table does not
// say, as those of other programs do not.
func Owner(tbl *table.Table) (protocol.StreamID, bool, error) {
	data, ok := tbl.Properties()[streamKey]
	if !ok {
		return protocol.StreamID{}, false, nil
	}
	var o owner
	if err := json.Unmarshal([]byte(data), &o); err != nil {
		return protocol.StreamID{}, false, fmt.Errorf("reading the property %s of table %s: %w", streamKey, strings.Join(tbl.Identifier(), "."), err)
	}
	return protocol.StreamID(o), true, nil
}

// ours is an error when a table is another stream's.
func (t *Table) ours(loaded *table.Table) error {
	stream, known, err := Owner(loaded)
	if err != nil || !known || stream == t.plan.Stream {
		return err
	}
	return &protocol.Error{Kind: protocol.TransientError, Stream: &t.plan.Stream, Message: fmt.Sprintf(
		"Table %s has just been made by another program for stream %s. Start the sync again: stream %s then gets a table of its own.", t, stream, t.plan.Stream)}
}

// Resolve settles which table each plan is for. Names that differ at the
// source may be one when they are made legal: the stream that has the table
// keeps it, whatever else the catalog names, and the others get tables with a
// suffix made from their own names. Where there is no table yet, it goes to
// the stream whose name needed no change. Names that differ only in case count
// as the same within one catalog, as they do for most engines. A table that was
// made with the other choice of names stays the stream's.
func Resolve(ctx context.Context, cat catalog.Catalog, plans []*columnar.Plan) error {
	r := resolver{cat: cat, taken: map[string]struct{}{}}
	var open []*columnar.Plan
	for _, p := range plans {
		claim, err := r.claim(ctx, p, p.Location)
		if err == nil && claim != own && p.Otherwise != p.Location {
			claim, err = r.otherwise(ctx, p)
		}
		if err != nil {
			return err
		}
		if claim != own {
			open = append(open, p)
			continue
		}
		r.take(p, p.Table)
	}
	slices.SortFunc(open, func(a, b *columnar.Plan) int {
		return cmp.Or(
			cmp.Compare(changes(a), changes(b)),
			strings.Compare(a.Stream.Namespace, b.Stream.Namespace),
			strings.Compare(a.Stream.Name, b.Stream.Name),
		)
	})
	for _, p := range open {
		if err := r.choose(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// changes counts how many of a stream's names are not its table's.
func changes(p *columnar.Plan) (n int) {
	if p.Stream.Name != p.Table {
		n++
	}
	if p.Stream.Namespace != "" && p.Stream.Namespace != p.Namespace {
		n++
	}
	return n
}

type resolver struct {
	cat   catalog.Catalog
	taken map[string]struct{} // tables of the plans settled, in lower case
}

// otherwise looks for a table that the stream got with the other choice of names.
func (r *resolver) otherwise(ctx context.Context, p *columnar.Plan) (claim, error) {
	at := p.Otherwise
	for _, table := range []string{at.Table, p.Alternative(at.Table, 0)} {
		at.Table = table
		claim, err := r.claim(ctx, p, at)
		if claim == own && err == nil {
			p.Location = at
		}
		if claim == own || err != nil {
			return claim, err
		}
	}
	return vacant, nil
}

func (r *resolver) take(p *columnar.Plan, name string) {
	p.Table = name
	r.taken[folded(p, name)] = struct{}{}
}

func folded(p *columnar.Plan, name string) string {
	return strings.ToLower(p.Namespace + "." + name)
}

// choose finds the table of a stream that does not have the plain one.
func (r *resolver) choose(ctx context.Context, p *columnar.Plan) error {
	other := p.Alternative(p.Table, 0)
	claim, err := r.claim(ctx, p, columnar.Location{Namespace: p.Namespace, Table: other})
	if err != nil {
		return err
	}
	if claim == own {
		r.take(p, other)
		return nil
	}
	for n, name := 0, p.Table; ; n++ {
		if claim, err = r.claim(ctx, p, columnar.Location{Namespace: p.Namespace, Table: name}); err != nil {
			return err
		}
		if _, taken := r.taken[folded(p, name)]; !taken && claim != foreign {
			r.take(p, name)
			return nil
		}
		name = p.Alternative(p.Table, n)
	}
}

// A claim is what a stream has to a table.
type claim int

const (
	vacant  claim = iota // there is no such table, or it is nobody's
	own                  // the table is the stream's
	foreign              // it is another stream's
)

func (r *resolver) claim(ctx context.Context, p *columnar.Plan, at columnar.Location) (claim, error) {
	id := append(strings.Split(at.Namespace, "."), at.Table)
	tbl, err := r.cat.LoadTable(ctx, id)
	if errors.Is(err, catalog.ErrNoSuchTable) || errors.Is(err, catalog.ErrNoSuchNamespace) {
		return vacant, nil
	}
	if err != nil {
		return vacant, ExplainLoss(id, fmt.Errorf("loading table %s: %w", strings.Join(id, "."), err))
	}
	stream, known, err := Owner(tbl)
	switch {
	case err != nil:
		return vacant, err
	case !known:
		return vacant, nil
	case stream == p.Stream:
		return own, nil
	}
	return foreign, nil
}
