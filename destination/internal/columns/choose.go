package columns

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apache/iceberg-go"
)

// A target is where the values of a wanted field go.
type target struct {
	want  iceberg.NestedField
	at    int    // place of its column in the level; -1: it is to be added
	name  string // of a column that is to be added
	fixed bool   // it is one of Airbyte's own
}

// chooser finds the columns of the properties of one level.
type chooser struct {
	evolver      *evolver
	level        level
	have         []iceberg.NestedField
	want         []iceberg.NestedField // sorted: what is chosen does not depend on the order
	at           map[int]int           // places in have, by id
	present      map[string]struct{}   // properties that are wanted
	owned        map[string][]int      // places of the columns of a property, the newest first
	absent       map[string][]int      // the same of properties that are not wanted, by their oldest spelling
	absentByFold map[string][]string   // those oldest spellings, by any spelling without case
}

// choose returns a target for each wanted property.
func (ev *evolver) choose(l level, have, want []iceberg.NestedField) ([]target, error) {
	c := &chooser{
		evolver: ev, level: l, have: have, want: slices.Clone(want),
		at: map[int]int{}, present: map[string]struct{}{},
		owned: map[string][]int{}, absent: map[string][]int{}, absentByFold: map[string][]string{},
	}
	for i, h := range have {
		c.at[h.ID] = i
	}
	for _, w := range want {
		c.present[w.Name] = struct{}{}
	}
	slices.SortFunc(c.want, func(a, b iceberg.NestedField) int { return strings.Compare(a.Name, b.Name) })
	c.assign()
	c.matchCase()
	if ev.byName {
		c.adoptByName()
	}
	targets := make([]target, len(want))
	for i, w := range want {
		var err error
		if targets[i], err = c.choose(w); err != nil {
			return nil, err
		}
	}
	c.name(targets)
	return targets, nil
}

// assign gives each column to the oldest of its spellings that is wanted.
func (c *chooser) assign() {
	newest := slices.SortedFunc(maps.Keys(c.at), func(a, b int) int { return b - a }) // ids only grow
	for _, id := range newest {
		at, spellings := c.at[id], c.evolver.mapping.tied[id]
		if len(spellings) == 0 {
			continue
		}
		owner := slices.IndexFunc(spellings, func(e *entry) bool { _, ok := c.present[e.Property]; return ok })
		if owner >= 0 {
			property := spellings[owner].Property
			c.owned[property] = append(c.owned[property], at)
			continue
		}
		oldest := spellings[0].Property
		c.absent[oldest] = append(c.absent[oldest], at)
		for _, s := range spellings {
			if fold := foldCase(s.Property); !slices.Contains(c.absentByFold[fold], oldest) {
				c.absentByFold[fold] = append(c.absentByFold[fold], oldest)
			}
		}
	}
}

// matchCase finds properties of which the source has changed the case.
func (c *chooser) matchCase() {
	newcomers := map[string]int{}
	for _, w := range c.want {
		if c.owned[w.Name] == nil {
			newcomers[foldCase(w.Name)]++
		}
	}
	for _, w := range c.want {
		fold := foldCase(w.Name)
		if c.owned[w.Name] != nil || newcomers[fold] != 1 || len(c.absentByFold[fold]) != 1 {
			continue
		}
		oldest := c.absentByFold[fold][0]
		if places := c.absent[oldest]; places != nil {
			c.alias(w, places)
			delete(c.absent, oldest)
		}
	}
}

// alias ties columns to one more spelling of their property. What another
// program's columns are tied to was a guess until now.
func (c *chooser) alias(w iceberg.NestedField, places []int) {
	c.owned[w.Name] = places
	m := c.evolver.mapping
	for _, at := range slices.Backward(places) {
		id := c.have[at].ID
		if c.evolver.byName {
			m.tied[id][0].Property = w.Name
			continue
		}
		m.add(entry{ID: id, In: c.level.in, Property: w.Name, Holds: m.holds[id]})
	}
}

// adoptByName finds columns of another program that are called as this one would have
// called them.
func (c *chooser) adoptByName() {
	names := map[string]int{}
	for _, places := range c.absent {
		for _, at := range places {
			names[foldCase(c.have[at].Name)] = at
		}
	}
	asking := map[string]int{}
	for _, w := range c.want {
		if c.owned[w.Name] == nil {
			asking[foldCase(c.evolver.want.Names.column(w.Name))]++
		}
	}
	for _, w := range c.want {
		asked := foldCase(c.evolver.want.Names.column(w.Name))
		if at, there := names[asked]; there && c.owned[w.Name] == nil && asking[asked] == 1 {
			c.alias(w, []int{at})
		}
	}
}

// choose chooses among the columns of a property.
func (c *chooser) choose(w iceberg.NestedField) (target, error) {
	s := target{want: w, at: -1}
	best := unfit
	for _, at := range c.owned[w.Name] {
		if f := c.evolver.fits(c.have[at].Type, c.have[at].ID, w.Type, w.ID); f > best {
			best, s.at = f, at
		}
	}
	if c.level.top && slices.Contains(c.evolver.want.Key, w.Name) {
		return s, c.checkKey(s)
	}
	return s, nil
}

// checkKey is an error when values of a property of the key are, or may be, in
// other columns than the one that was chosen.
func (c *chooser) checkKey(s target) error {
	const remedy = "Existing keys would be written again. Rename the table in the catalog, or write the stream to another namespace, then sync it from the beginning."
	property := s.want.Name
	if places := c.owned[property]; len(places) > 0 {
		oldest := c.have[places[len(places)-1]]
		switch {
		case s.at >= 0 && c.have[s.at].ID == oldest.ID:
			return nil
		case c.evolver.fits(oldest.Type, oldest.ID, s.want.Type, s.want.ID) == unfit:
			return c.evolver.typeConflict(oldest, s.want, "is part of the primary key", "")
		}
		return &Conflict{oldest.Name, fmt.Sprintf("holds values of the primary key %q, and so does column %q. ", property, c.have[s.at].Name) + remedy}
	}
	for _, e := range c.evolver.mapping.within[c.level.in] {
		if e.Property != property {
			continue
		}
		if at, there := c.at[e.ID]; there {
			return &Conflict{c.have[at].Name, fmt.Sprintf("holds the primary key %q, but was created for %q, which the source now sends, too. ", property, c.evolver.mapping.tied[e.ID][0].Property) + remedy}
		}
		return &Conflict{property, "is part of the primary key, and another program has dropped it. Restore a schema that has it. " + remedy}
	}
	if others := c.absentByFold[foldCase(property)]; len(others) > 0 {
		return &Conflict{property, fmt.Sprintf("is part of the primary key, and the table has columns of %q, which differs only in case and may be the same property. ", others) + remedy}
	}
	return nil
}

// name names the columns that are to be added, and notes the changes of types.
func (c *chooser) name(targets []target) {
	taken := c.taken()
	var newcomers []string
	var others []*target
	for i := range targets {
		if t := &targets[i]; c.owned[t.want.Name] == nil {
			newcomers = append(newcomers, t.want.Name)
		} else {
			others = append(others, t)
		}
	}
	names := c.evolver.want.Names.columns(newcomers, c.level.top, taken)
	for i := range targets {
		if t := &targets[i]; c.owned[t.want.Name] == nil {
			t.name, names = names[0], names[1:]
		}
	}
	slices.SortFunc(others, func(a, b *target) int { return strings.Compare(a.want.Name, b.want.Name) })
	for _, t := range others {
		c.change(t, taken)
	}
}

// taken returns the names that no new column of the level can have.
func (c *chooser) taken() map[string]bool {
	taken := map[string]bool{}
	for _, h := range c.have {
		taken[foldCase(h.Name)] = true
	}
	// A column in a list has a second, shorter path in Iceberg.
	for _, path := range []string{c.level.path, strings.ReplaceAll(c.level.path, ".element.", ".")} {
		for _, field := range c.evolver.partitionFields {
			if name, inside := strings.CutPrefix(foldCase(field), foldCase(path)); inside {
				taken[name] = true
			}
		}
	}
	return taken
}

// change notes when values do not go to the oldest column of a property, and
// names the column that takes them.
func (c *chooser) change(t *target, taken map[string]bool) {
	places := c.owned[t.want.Name]
	oldest := c.have[places[len(places)-1]]
	to := ""
	switch {
	case t.at < 0:
		t.name = c.variant(c.evolver.want.Names.column(oldest.Name), t.want, taken)
		to = t.name
	case c.have[t.at].ID == oldest.ID:
		return
	default:
		to = c.have[t.at].Name
	}
	c.evolver.typeChanges = append(c.evolver.typeChanges, TypeChange{
		Column: c.level.path + oldest.Name, To: c.level.path + to,
		Holds: describe(oldest.Type, c.evolver.mapping.holds[oldest.ID]), Sends: describe(t.want.Type, c.evolver.contentOf(t.want.ID)),
	})
}

// variant returns a free name for a column of another type.
func (c *chooser) variant(name string, w iceberg.NestedField, taken map[string]bool) string {
	for n := 1; ; n++ {
		choice := variantName(name, w.Type, c.evolver.contentOf(w.ID), n)
		if key := foldCase(choice); !taken[key] {
			taken[key] = true
			return choice
		}
	}
}
