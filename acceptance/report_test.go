//go:build acceptance

package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// hostileText would be more than text in a page, a script or an attribute.
const hostileText = `</script><img src=x onerror="document.title='pwned'">'"` + "\u2028"

// inspection is JavaScript that finds what is wrong with a page for people with a small screen, a keyboard or a
// screen reader: an array of sentences.
const inspection = `(() => {
	const wrong = [];
	const all = selector => [...document.querySelectorAll(selector)];
	const visible = e => e.getClientRects().length > 0 && getComputedStyle(e).visibility === 'visible';
	if (document.documentElement.scrollWidth > innerWidth) wrong.push('it scrolls sideways: ' + document.documentElement.scrollWidth);
	if (all('h1').length !== 1) wrong.push(all('h1').length + ' h1');
	let level = 0;
	for (const h of all('h1,h2,h3,h4')) {
		if (+h.tagName[1] > level + 1) wrong.push('heading ' + h.textContent + ' comes after level ' + level);
		level = +h.tagName[1];
	}
	for (const t of all('table')) if (!t.caption || !t.caption.textContent.trim()) wrong.push('a table without a caption: ' + t.textContent.slice(0, 50));
	for (const t of all('th')) if (!t.scope) wrong.push('a th without a scope: ' + t.textContent);
	const ids = all('[id]').map(e => e.id);
	for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push('the id ' + id + ' twice');
	for (const e of all('[aria-labelledby]')) if (!document.getElementById(e.getAttribute('aria-labelledby')).textContent.trim()) wrong.push('no label of ' + e.outerHTML.slice(0, 80));
	for (const e of all('[role=region],[role=slider],pre')) if (!e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby')) wrong.push('no name of ' + e.outerHTML.slice(0, 80));
	for (const e of all('[role=slider]')) if (!e.getAttribute('aria-valuetext') || e.tabIndex !== 0) wrong.push('a chart that says nothing: ' + e.outerHTML.slice(0, 80));
	for (const e of all('a[href^="#"]')) if (!document.querySelector(e.getAttribute('href'))) wrong.push('a link to nothing: ' + e.getAttribute('href'));
	for (const e of all('input')) if (!e.labels.length) wrong.push('an input without a label');
	if (!document.documentElement.lang || !document.title) wrong.push('no language or no title');

	// Contrast as WCAG 2 has it, of each text with the background behind it.
	const parse = color => color.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = e => {
		for (; e; e = e.parentElement) {
			const color = parse(getComputedStyle(e).backgroundColor);
			if (color.length === 3 || color[3] > 0) return color;
		}
		return [255, 255, 255];
	};
	const seen = new Set();
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n = texts.nextNode(); n; n = texts.nextNode()) {
		const e = n.parentElement;
		if (!n.data.trim() || !visible(e)) continue;
		const fore = getComputedStyle(e).color, back = behind(e);
		const key = fore + back;
		if (seen.has(key)) continue;
		seen.add(key);
		const [a, b] = [light(parse(fore)), light(back)];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) wrong.push('contrast ' + ratio.toFixed(2) + ' of ' + n.data.trim().slice(0, 40) + ' ' + fore + ' on ' + back);
	}
	if (seen.size < 4) wrong.push('only ' + seen.size + ' colours of text');
	return wrong;
})()`

// drawing is JavaScript that shows every chart, and finds those that draw nothing: a promise of an array of sentences.
const drawing = `(async () => {
	const wrong = [];
	for (const figure of document.querySelectorAll('figure.chart')) {
		const plot = figure.querySelector('.plot');
		if (!plot) continue; // it has no values
		figure.scrollIntoView();
		for (let i = 0; i < 100 && !figure.querySelector('canvas'); i++) await new Promise(done => setTimeout(done, 50));
		await new Promise(requestAnimationFrame);
		await new Promise(requestAnimationFrame);
		const title = figure.querySelector('h3').textContent;
		const canvas = figure.querySelector('canvas');
		if (!canvas) {
			wrong.push('no canvas of ' + title);
			continue;
		}
		// Axes and grid are grey; values have a colour.
		const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
		let coloured = 0;
		for (let i = 0; i < pixels.length; i += 4) {
			const [r, g, b, a] = pixels.slice(i, i + 4);
			if (a > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 60) coloured++;
		}
		if (coloured < 20) wrong.push(coloured + ' coloured pixels of ' + title);
	}
	scrollTo(0, 0);
	return wrong;
})()`

// The page of a member and of a table whose every text is hostile, on a phone and at a desk, by day and by night.
func TestTheReportInABrowser(t *testing.T) {
	dir := t.TempDir()
	l := newLake(t, dir, nil)
	m := newMember(t, dir, nil, "--seed", "5", "--years", "1")
	connect(t, m, l, protocol.AppendDedup).sync()
	catalog := filepath.Join(dir, "hostile.catalog.json")
	writeJSON(t, catalog, map[string]any{"streams": []any{map[string]any{
		"sync_mode": "incremental", "destination_sync_mode": protocol.Append,
		"stream": map[string]any{"name": hostileText, "supported_sync_modes": []string{"full_refresh", "incremental"}, "json_schema": map[string]any{"properties": map[string]any{
			"at": map[string]any{"type": "string", "format": "date-time"}, "n": map[string]any{"type": "integer", "description": hostileText}, hostileText: map[string]any{"type": "string"},
		}}},
	}}})
	for day := 1; day <= 4; day++ {
		l.write(catalog, messages(hostileText, fmt.Sprintf(`{"at":"2026-01-%02dT12:00:00Z","n":%d,%q:%q}`, day, day, hostileText, hostileText), `{"n":"no number"}`))
	}
	var descriptions struct {
		Charts []map[string]any `json:"charts"`
	}
	readJSON(t, filepath.Join(repository, "docs/charts/whoop.json"), &descriptions)
	descriptions.Charts = append(descriptions.Charts, map[string]any{
		"title": hostileText, "table": hostileText, "time": "at", "unit": hostileText, "kind": "bar", "columns": []any{map[string]any{"column": "n", "label": hostileText}},
	})
	charts := filepath.Join(dir, "charts.json")
	writeJSON(t, charts, descriptions)
	page := filepath.Join(dir, "report.html")
	out := l.run("report", "--config", l.config, "--charts", charts, "--output", page)
	if want := fmt.Sprintf("%s shows 12 tables and %d charts. Open it in a browser.\n", page, len(descriptions.Charts)); string(out) != want {
		t.Errorf("report prints %q, want %q", out, want)
	}
	if info, err := os.Stat(page); err != nil || info.Size() > 1<<20 {
		t.Errorf("the page has %d bytes (%v)", info.Size(), err)
	}

	b := newBrowser(t)
	for _, width := range []int{390, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprint(width, " ", scheme), func(t *testing.T) {
				b.resize(width, 900)
				b.prefer(scheme)
				b.open("file://" + page)
				var wrong []string
				b.eval(drawing, &wrong)
				for _, w := range wrong {
					t.Error(w)
				}
				b.screenshot(fmt.Sprintf("report-%d-%s", width, scheme))
				b.eval(`(document.querySelectorAll('details').forEach(d => d.open = true), 0)`, nil)
				b.eval(inspection, &wrong)
				for _, w := range wrong {
					t.Error(w)
				}
				for _, complaint := range b.complaints() {
					t.Errorf("the console says %s", complaint)
				}
				var seen struct {
					Title, Text                             string
					Charts, Rows, Images, Requests, Written int
				}
				b.eval(`{title: document.title, text: document.body.innerText, charts: document.querySelectorAll('canvas').length, images: document.images.length,
					rows: document.querySelectorAll('#chart-0 tbody tr').length, requests: performance.getEntriesByType('resource').length,
					written: [...document.querySelectorAll('svg,img,script,iframe')].filter(e => e.closest('figure,table') && e.tagName !== 'svg').length}`, &seen)
				if seen.Images+seen.Requests+seen.Written > 0 || strings.Contains(seen.Title, "pwned") || !strings.Contains(seen.Text, "<img src=x") {
					t.Errorf("values are more than text: %d images, %d requests, title %s", seen.Images, seen.Requests, seen.Title)
				}
				if want := len(descriptions.Charts) + 2; seen.Charts != want { // and the history of the table with four commits
					t.Errorf("%d charts, want %d", seen.Charts, want)
				}
				if seen.Rows < 60 || seen.Rows > 90 {
					t.Errorf("the data of 90 days are %d rows", seen.Rows)
				}
			})
		}
	}

	t.Run("by keyboard", func(t *testing.T) {
		const tab, left, home, right, space = "\ue004", "\ue012", "\ue011", "\ue014", " "
		b.open("file://" + page)
		b.find("#chart-0 canvas")
		focus := func() (name string) {
			b.eval(`document.activeElement.className + ' ' + document.activeElement.textContent.slice(0, 20)`, &name)
			return name
		}
		b.press(tab)
		if got := focus(); !strings.Contains(got, "Skip to the tables") {
			t.Errorf("the first stop is %q", got)
		}
		b.press(tab)
		var period string
		chosen := `document.querySelector('input:checked').parentElement.textContent`
		if b.eval(chosen, &period); period != "90 days" {
			t.Errorf("the period is %q", period)
		}
		b.press(right)
		if b.eval(chosen, &period); period != "all" {
			t.Errorf("an arrow key changes the period to %q", period)
		}
		if text := b.text("#chart-0"); !strings.Contains(text, "week of 20") || !strings.Contains(text, "each point is the mean of the days of a week") {
			t.Errorf("a year of days is shown as %s", text)
		}
		var first, second, third string
		value := `document.querySelector('#chart-0 [role=slider]').getAttribute('aria-valuetext')`
		b.press(tab)
		if got := focus(); !strings.HasPrefix(got, "plot") {
			t.Errorf("the stop after the periods is %q", got)
		}
		b.eval(value, &first)
		b.press(left)
		b.eval(value, &second)
		b.press(home)
		b.eval(value, &third)
		if first == second || second == third || !strings.Contains(third, "Recovery ") || !strings.Contains(third, "%") {
			t.Errorf("the chart says %q, %q and %q", first, second, third)
		}
		b.press(tab, space)
		var open bool
		if b.eval(`document.querySelector('#chart-0 details').open`, &open); !open {
			t.Error("the data of the chart do not open")
		}
		for _, complaint := range b.complaints() {
			t.Errorf("the console says %s", complaint)
		}
	})
}
