package tabledef

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/iceberg-go/catalog"
	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// lookedForAtOnce is how many tables are looked for at the same time, which is
// waiting for the catalog.
const lookedForAtOnce = 16

// Resolve decides which table each plan is for. Names that differ at the source
// can become one name when they are made legal. Then the stream that has the
// table keeps it, whatever else the catalog names, and the others get tables
// with a suffix made from their own names. Where there is no table yet, it goes
// to the stream whose name needed no change. Names that differ only in case
// count as the same within one catalog, as they do for most engines. A table
// that was created with the other choice of names stays the stream's. A table that the
// configuration names for a stream is the stream's or an error.
func Resolve(ctx context.Context, cat catalog.Catalog, plans []*columnar.Plan) error {
	r := resolver{cat: cat, taken: map[string]struct{}{}}
	claims := make([]claim, len(plans))
	looking, limited := errgroup.WithContext(ctx)
	looking.SetLimit(lookedForAtOnce)
	for i, p := range plans {
		looking.Go(goroutine.Recovered(func() (err error) {
			claims[i], err = r.claim(limited, p, p.Location)
			if err == nil && claims[i] != own && p.Otherwise != p.Location {
				claims[i], err = r.otherNames(limited, p)
			}
			return err
		}))
	}
	if err := looking.Wait(); err != nil {
		return err
	}
	var open []*columnar.Plan
	for i, p := range plans {
		if claims[i] == own || p.Named {
			if err := r.assignNamed(p, claims[i]); err != nil {
				return err
			}
			continue
		}
		open = append(open, p)
	}
	slices.SortFunc(open, func(a, b *columnar.Plan) int {
		return cmp.Or(
			cmp.Compare(changedNames(a), changedNames(b)),
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

// changedNames counts the names of a stream that differ from its table's.
func changedNames(p *columnar.Plan) (n int) {
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
	taken map[string]struct{} // tables of the plans decided on, in lower case
}

// otherNames looks for a table that the stream got with the other choice of names.
func (r *resolver) otherNames(ctx context.Context, p *columnar.Plan) (claim, error) {
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

func (r *resolver) assign(p *columnar.Plan, name string) {
	p.Table = name
	r.taken[foldCase(p, name)] = struct{}{}
}

// assignNamed assigns the table that a stream has, or that the configuration names for it.
func (r *resolver) assignNamed(p *columnar.Plan, c claim) error {
	_, taken := r.taken[foldCase(p, p.Table)]
	if p.Named && (c == foreign || taken) {
		return &protocol.Error{Kind: protocol.ConfigError, Stream: &p.Stream, Message: fmt.Sprintf(
			`The configuration names table %s for stream %s, and it is the table of another stream. Correct "table" in the entry of "streams".`, p.Location, p.Stream)}
	}
	r.assign(p, p.Table)
	return nil
}

func foldCase(p *columnar.Plan, name string) string {
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
		r.assign(p, other)
		return nil
	}
	for n, name := 0, p.Table; ; n++ {
		if claim, err = r.claim(ctx, p, columnar.Location{Namespace: p.Namespace, Table: name}); err != nil {
			return err
		}
		if _, taken := r.taken[foldCase(p, name)]; !taken && claim != foreign {
			r.assign(p, name)
			return nil
		}
		name = p.Alternative(p.Table, n)
	}
}

// A claim is the right that a stream has to a table.
type claim int

const (
	vacant  claim = iota // there is no such table, or it is nobody's
	own                  // the table is the stream's
	foreign              // it is another stream's
)

func (r *resolver) claim(ctx context.Context, p *columnar.Plan, at columnar.Location) (claim, error) {
	id := at.Identifier()
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
