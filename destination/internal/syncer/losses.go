package syncer

import (
	"context"
	"sync"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
)

// warnOfLosses says once for each stream which values of its records are not in its table, or
// not as they were.
func (r *run) warnOfLosses(ctx context.Context) error {
	var collecting sync.Mutex
	lost := map[*Stream]*columnar.Losses{}
	for _, s := range r.streams.all {
		lost[s] = columnar.NewLosses()
	}
	if err := r.workers.each(ctx, func(w *worker, _ context.Context) error {
		collecting.Lock()
		defer collecting.Unlock()
		for _, b := range w.all {
			b.batch.AddTo(lost[b.stream])
		}
		return nil
	}); err != nil {
		return err
	}
	for _, s := range r.streams.all {
		l := lost[s]
		if len(s.plan.Wanted.Properties) == 0 {
			l.LeftOut, l.More = nil, false // a warning has said that every field is
		}
		for _, sentence := range l.Warnings() {
			r.log.Warn(sentence, "stream", s.ID.String())
		}
	}
	return nil
}
