package columnchunk

import "sort"

// A page is entries from a to b, and the positions of their values.
type page struct{ a, b, from, to int }

// eachPage divides the entries into pages whose values take about so many bytes. A page
// ends where a row does.
func (l *leaf) eachPage(bytes int, size func(from, to int) int, visit func(page) error) error {
	if l.positions == nil {
		return l.eachPlainPage(bytes, size, visit)
	}
	p := page{}
	row, rowFrom := 0, 0 // of the last row that began
	next := 0            // position after the last value
	for entry := range l.entries {
		if l.repetition.at(entry) == 0 {
			if p.b = row; row > p.a && size(p.from, next) > bytes {
				p.to = rowFrom
				if err := visit(p); err != nil {
					return err
				}
				p = page{a: row, from: rowFrom}
			}
			row, rowFrom = entry, next
		}
		if at := int(l.positions[entry]); at >= 0 {
			next = at + 1
		}
	}
	p.b, p.to = l.entries, next
	return visit(p)
}

func (l *leaf) eachPlainPage(bytes int, size func(from, to int) int, visit func(page) error) error {
	positions := l.values.Len()
	for a := 0; a < l.entries; {
		b := l.entries
		if positions == l.entries && size(a, b) > bytes {
			b = a + max(1, sort.Search(b-a, func(n int) bool { return size(a, a+n+1) > bytes }))
		}
		p := page{a: a, b: b, from: a, to: b}
		if positions != l.entries { // of lists that are all empty
			p.from, p.to = 0, 0
		}
		if err := visit(p); err != nil {
			return err
		}
		a = b
	}
	return nil
}

// at is the level of an entry.
func (l levels) at(entry int) (level int) {
	if l.planes == nil {
		return l.same
	}
	for p, plane := range l.planes {
		level |= int(plane[entry/64]>>(entry%64)&1) << p
	}
	return level
}
