package columns

import (
	"fmt"
	"maps"
	"slices"

	"github.com/apache/iceberg-go"
)

// A slot is where the values of a wanted field go.
type slot struct {
	want  iceberg.NestedField
	at    int    // place of its column in the level; -1: it is to be added
	name  string // of a column that is to be added
	fixed bool   // it is one of Airbyte's own
}

// chooser finds the columns of the properties of one level.
type chooser struct {
	p       *placer
	level   level
	have    []iceberg.NestedField
	want    []iceberg.NestedField
	at      map[int]int         // places in have, by id
	present map[string]struct{} // properties that are wanted
	owned   map[string][]int    // places of the columns of a property, the newest first
	loose   map[string][]int    // the same of properties that are not wanted, by their oldest spelling
	folds   map[string][]string // those oldest spellings, by any spelling without case
}

// choose returns a slot for each wanted property.
func (p *placer) choose(l level, have, want []iceberg.NestedField) ([]slot, error) {
	c := &chooser{
		p: p, level: l, have: have, want: want,
		at: map[int]int{}, present: map[string]struct{}{},
		owned: map[string][]int{}, loose: map[string][]int{}, folds: map[string][]string{},
	}
	for i, h := range have {
		c.at[h.ID] = i
	}
	for _, w := range want {
		c.present[w.Name] = struct{}{}
	}
	c.assign()
	c.unify()
	if p.byName {
		c.claim()
	}
	slots := make([]slot, len(want))
	for i, w := range want {
		var err error
		if slots[i], err = c.pick(w); err != nil {
			return nil, err
		}
	}
	c.name(slots)
	return slots, nil
}

// assign gives each column to the oldest of its spellings that is wanted.
func (c *chooser) assign() {
	newest := slices.SortedFunc(maps.Keys(c.at), func(a, b int) int { return b - a }) // ids only grow
	for _, id := range newest {
		at, spellings := c.at[id], c.p.mapping.tied[id]
		if len(spellings) == 0 {
			continue
		}
		owner := slices.IndexFunc(spellings, func(e entry) bool { _, ok := c.present[e.Property]; return ok })
		if owner >= 0 {
			property := spellings[owner].Property
			c.owned[property] = append(c.owned[property], at)
			continue
		}
		oldest := spellings[0].Property
		c.loose[oldest] = append(c.loose[oldest], at)
		for _, s := range spellings {
			if fold := folded(s.Property); !slices.Contains(c.folds[fold], oldest) {
				c.folds[fold] = append(c.folds[fold], oldest)
			}
		}
	}
}

// unify finds properties of which the source has changed the case.
func (c *chooser) unify() {
	newcomers := map[string]int{}
	for _, w := range c.want {
		if c.owned[w.Name] == nil {
			newcomers[folded(w.Name)]++
		}
	}
	for _, w := range c.want {
		fold := folded(w.Name)
		if c.owned[w.Name] != nil || newcomers[fold] != 1 || len(c.folds[fold]) != 1 {
			continue
		}
		oldest := c.folds[fold][0]
		if places := c.loose[oldest]; places != nil {
			c.take(w, places)
			delete(c.loose, oldest)
		}
	}
}

// take ties columns to one more property.
func (c *chooser) take(w iceberg.NestedField, places []int) {
	c.owned[w.Name] = places
	for _, at := range slices.Backward(places) {
		id := c.have[at].ID
		c.p.mapping.add(entry{ID: id, In: c.level.in, Property: w.Name, Holds: c.p.mapping.holds[id]})
	}
}

// claim finds columns of another program that are called as this one would have
// called them.
func (c *chooser) claim() {
	names := map[string]int{}
	for _, places := range c.loose {
		for _, at := range places {
			names[folded(c.have[at].Name)] = at
		}
	}
	asking := map[string]int{}
	for _, w := range c.want {
		if c.owned[w.Name] == nil {
			asking[folded(c.p.want.Names.column(w.Name))]++
		}
	}
	for _, w := range c.want {
		asked := folded(c.p.want.Names.column(w.Name))
		if at, there := names[asked]; there && c.owned[w.Name] == nil && asking[asked] == 1 {
			c.take(w, []int{at})
		}
	}
}

// pick chooses among the columns of a property.
func (c *chooser) pick(w iceberg.NestedField) (slot, error) {
	s := slot{want: w, at: -1}
	best := unfit
	for _, at := range c.owned[w.Name] {
		if f := c.p.fits(c.have[at].Type, c.have[at].ID, w.Type, w.ID); f > best {
			best, s.at = f, at
		}
	}
	if c.level.top && slices.Contains(c.p.want.Key, w.Name) {
		return s, c.checkKey(s)
	}
	return s, nil
}

// checkKey is an error when values of a property of the key are, or may be, in
// other columns than the one that was chosen.
func (c *chooser) checkKey(s slot) error {
	const remedy = "Keys that the table has would be written again. Rename the table in the catalog or write the stream to another namespace, then sync it anew."
	property := s.want.Name
	if places := c.owned[property]; len(places) > 0 {
		oldest := c.have[places[len(places)-1]]
		switch {
		case s.at >= 0 && c.have[s.at].ID == oldest.ID:
			return nil
		case c.p.fits(oldest.Type, oldest.ID, s.want.Type, s.want.ID) == unfit:
			return c.p.refusal(oldest, s.want, "is part of the primary key", "")
		}
		return &Refusal{oldest.Name, fmt.Sprintf("has values of the primary key %q, as column %q has. ", property, c.have[s.at].Name) + remedy}
	}
	for _, e := range c.p.mapping.within[c.level.in] {
		if e.Property != property {
			continue
		}
		if at, there := c.at[e.ID]; there {
			return &Refusal{c.have[at].Name, fmt.Sprintf("has been that of the primary key %q, and was made for %q, which the source now sends too. ", property, c.p.mapping.tied[e.ID][0].Property) + remedy}
		}
		return &Refusal{property, "is part of the primary key, and another program has dropped it. Set the table back to a schema that has it. " + remedy}
	}
	if others := c.folds[folded(property)]; len(others) > 0 {
		return &Refusal{property, fmt.Sprintf("is part of the primary key, and the table has columns of %q, which differs from it in case only and may be the same. ", others) + remedy}
	}
	return nil
}

// name names the columns that are to be added, and notes the moves.
func (c *chooser) name(slots []slot) {
	taken := map[string]bool{}
	for _, h := range c.have {
		taken[folded(h.Name)] = true
	}
	var newcomers []string
	for _, s := range slots {
		if c.owned[s.want.Name] == nil {
			newcomers = append(newcomers, s.want.Name)
		}
	}
	names := c.p.want.Names.columns(newcomers, c.level.top, taken)
	for i := range slots {
		s := &slots[i]
		places := c.owned[s.want.Name]
		if places == nil {
			s.name, names = names[0], names[1:]
			continue
		}
		oldest := c.have[places[len(places)-1]]
		if s.at >= 0 && c.have[s.at].ID == oldest.ID {
			continue
		}
		to := ""
		if s.at >= 0 {
			to = c.have[s.at].Name
		} else {
			s.name = c.variant(oldest.Name, s.want, taken)
			to = s.name
		}
		c.p.moves = append(c.p.moves, Move{
			Column: c.level.path + oldest.Name, To: c.level.path + to,
			Holds: describe(oldest.Type, c.p.mapping.holds[oldest.ID]), Sends: describe(s.want.Type, c.p.holding(s.want.ID)),
		})
	}
}

// variant returns a free name for a column of another type.
func (c *chooser) variant(name string, w iceberg.NestedField, taken map[string]bool) string {
	for n := 1; ; n++ {
		choice := variantName(name, w.Type, c.p.holding(w.ID), n)
		if key := folded(choice); !taken[key] {
			taken[key] = true
			return choice
		}
	}
}
