'use strict';
// Draws the charts of the page with uPlot. What they show is in the script element "drawn",
// by the ids of their figures.
(() => {
  const drawn = JSON.parse(document.getElementById('drawn').textContent);
  const day = 86400;
  // Between ticks of the time axis: whole buckets, or seconds.
  const days = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 30, 60, 90, 120, 180, 365, 730, 1825, 3650, 9125, 18250, 36500].map(n => n * day);
  const hours = [1, 2, 3, 4, 6, 8, 12].map(n => n * 3600);
  const seconds = [1, 5, 10, 15, 30, 60, 300, 600, 900, 1800];
  const steps = width => (width >= day ? days : width > 0 ? [...hours, ...days] : [...seconds, ...hours, ...days]);
  const periods = [['30 days', 30], ['90 days', 90], ['1 year', 365], ['all', Infinity]];

  const pad = n => String(n).padStart(2, '0');
  const dateOf = time => new Date(time * 1000).toISOString();

  // when names the bucket that begins at a time, or the moment of a commit.
  function when(every, time) {
    const text = dateOf(time);
    switch (every) {
      case 'hour': return text.slice(0, 10) + ' ' + text.slice(11, 13) + ':00';
      case 'day': return text.slice(0, 10);
      case 'week': return 'week of ' + text.slice(0, 10);
      case 'month': return text.slice(0, 7);
      case 'year': return text.slice(0, 4);
    }
    return text.slice(0, 16).replace('T', ' ');
  }

  function size(bytes) {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
    let i = 0;
    while (Math.abs(bytes) >= 1000 && i < units.length - 1) {
      bytes /= 1024;
      i++;
    }
    return number(bytes, i > 0 && Math.abs(bytes) < 100 ? 1 : 0) + ' ' + units[i];
  }

  const number = (n, digits) => n.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });

  // digitsOf is how many digits after the point the values of a series have, all the same.
  const known = new Map();
  function digitsOf(values) {
    if (!known.has(values)) known.set(values, countDigits(values));
    return known.get(values);
  }

  function countDigits(values) {
    if (values.every(v => v == null || Number.isInteger(v))) return 0;
    const most = values.reduce((most, v) => Math.max(most, Math.abs(v || 0)), 0);
    return most < 0.1 ? 4 : most < 10 ? 2 : most < 1000 ? 1 : 0;
  }

  // show is a value of a series with its unit. In a table, all have the same digits.
  function show(chart, s, value, inTable) {
    if (value == null) return '–';
    if (chart.unit === 'B') return size(value);
    return number(value, !inTable && Number.isInteger(value) ? 0 : digitsOf(chart.series[s].values)) + (chart.unit === '%' ? '%' : chart.unit ? '\u00a0' + chart.unit : '');
  }

  // ticks label the time axis, in UTC.
  function ticks(splits, step) {
    const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
    let year = null;
    return splits.map(time => {
      const at = new Date(time * 1000);
      const before = year;
      year = at.getUTCFullYear();
      if (step >= 365 * day) return String(year);
      const month = months[at.getUTCMonth()];
      if (step >= 28 * day) return before === year ? month : month + '\n' + year;
      const date = at.getUTCDate() + ' ' + month;
      if (step >= day || at.getUTCHours() + at.getUTCMinutes() + at.getUTCSeconds() === 0) return before === year ? date : date + '\n' + year;
      return pad(at.getUTCHours()) + ':' + pad(at.getUTCMinutes()) + (step < 60 ? ':' + pad(at.getUTCSeconds()) : '');
    });
  }

  // byWeek makes weeks of days.
  function byWeek(times, values, aggregate) {
    const weeks = new Map(); // the indices of the days of a week
    times.forEach((time, i) => {
      const monday = time - ((new Date(time * 1000).getUTCDay() + 6) % 7) * day;
      weeks.set(monday, [...(weeks.get(monday) || []), i]);
    });
    const combine = of => {
      if (of.length === 0) return null;
      if (aggregate === 'min') return Math.min(...of);
      if (aggregate === 'max') return Math.max(...of);
      const sum = of.reduce((a, b) => a + b);
      return aggregate === 'sum' ? sum : sum / of.length;
    };
    return [[...weeks.keys()], values.map(v => [...weeks.values()].map(all => combine(all.map(i => v[i]).filter(n => n != null))))];
  }

  // stacked adds to each series those before it.
  function stacked(series) {
    let below = null;
    return series.map(values => {
      below = values.map((v, i) => (v == null && (below === null || below[i] == null) ? null : (v || 0) + (below === null ? 0 : below[i] || 0)));
      return below;
    });
  }

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // A Drawing is a chart in its figure. It shows the values since a time.
  class Drawing {
    constructor(figure, chart) {
      this.chart = chart;
      this.plot = figure.querySelector('.plot');
      this.legend = element('dl', { class: 'legend', 'aria-hidden': 'true' });
      this.plot.before(this.legend);
      this.empty = element('p', { class: 'empty', hidden: '' }, 'There are no values in this period.');
      this.plot.after(this.empty);
      this.merged = element('p', { class: 'note', hidden: '' }, 'In this period, each point is the ' + { mean: 'mean', sum: 'sum', min: 'lowest', max: 'highest' }[this.chart.aggregate] + ' of the days of a week.');
      this.empty.after(this.merged);
      this.data = element('details', { class: 'data' }, element('summary', {}, 'Data'));
      this.data.addEventListener('toggle', () => this.tabulate());
      figure.append(this.data);
      this.plot.setAttribute('role', 'slider');
      this.plot.setAttribute('tabindex', '0');
      this.plot.setAttribute('aria-labelledby', figure.id + '-title');
      this.plot.addEventListener('keydown', event => this.key(event));
      this.plot.addEventListener('blur', () => this.point(null));
      new ResizeObserver(() => this.resize()).observe(this.plot);
      this.since(-Infinity);
    }

    // since shows the values of a period that ends with the last one.
    since(time) {
      let first = this.chart.times.findIndex(t => t >= time);
      if (first < 0) first = this.chart.times.length;
      this.times = this.chart.times.slice(first);
      this.values = this.chart.series.map(s => s.values.slice(first));
      ({ every: this.every, width: this.width } = this.chart);
      const many = 250; // days that can be told apart
      this.merged.hidden = !(this.every === 'day' && this.times.length > many);
      if (!this.merged.hidden) {
        [this.times, this.values] = byWeek(this.times, this.values, this.chart.aggregate);
        [this.every, this.width] = ['week', 7 * day];
      }
      this.draw();
      this.tabulate();
    }

    draw() {
      if (this.uplot) this.uplot.destroy();
      this.uplot = null;
      this.empty.hidden = this.times.length > 0;
      this.plot.hidden = this.times.length === 0;
      if (this.times.length > 0 && this.plot.clientWidth > 0) this.uplot = new uPlot(this.options(), this.lines(), this.plot);
      this.point(null);
    }

    // lines are the values as uPlot draws them: of stacked bars the highest first.
    lines() {
      if (this.chart.kind !== 'stacked_bar') return [this.times, ...this.values];
      return [this.times, ...stacked(this.values).reverse()];
    }

    options() {
      const { kind } = this.chart;
      const { width } = this;
      const bars = kind === 'bar' || kind === 'stacked_bar';
      const style = getComputedStyle(this.plot);
      const color = name => style.getPropertyValue(name).trim();
      const axis = { stroke: color('--quiet'), font: '12px ' + style.fontFamily, grid: { stroke: color('--line'), width: 1 }, ticks: { show: false } };
      const n = this.values.length;
      return {
        width: this.plot.clientWidth,
        height: this.height(),
        tzDate: time => uPlot.tzDate(new Date(time * 1e3), 'Etc/UTC'),
        legend: { show: false },
        padding: [8, 18, 0, 0],
        cursor: { drag: { x: false, y: false }, y: false, points: { show: !bars }, sync: width > 0 ? { key: 'charts', setSeries: false } : undefined },
        scales: {
          x: { range: (u, min, max) => (bars ? [min - width / 2, max + width / 2] : min === max ? [min - day, max + day] : [min, max]) },
          y: { range: (u, min, max) => (min == null ? [0, 1] : uPlot.rangeNum(bars ? Math.min(0, min) : min, bars ? Math.max(0, max) : max, 0.1, bars || min === max)) },
        },
        axes: [
          { ...axis, space: 64, size: 42, incrs: steps(this.width), values: (u, splits, i, space, step) => ticks(splits, step) },
          { ...axis, space: 36, ...(this.chart.unit === 'B' ? { incrs: Array.from({ length: 60 }, (_, i) => 2 ** i) } : {}), size: (u, values) => 14 + 7 * Math.max(0, ...(values || []).map(v => v.length)), values: (u, splits) => splits.map(v => (this.chart.unit === 'B' ? size(v) : v.toLocaleString('en', { maximumFractionDigits: 6 }))) },
        ],
        series: [
          {},
          ...this.values.map((_, i) => {
            const hue = color('--c' + (kind === 'stacked_bar' ? n - 1 - i : i));
            const line = { stroke: hue, width: 2, points: { size: 5, fill: hue } };
            if (bars) return { ...line, fill: hue, width: 0, paths: uPlot.paths.bars({ size: [0.85, 60] }), points: { show: false } };
            if (kind === 'points') return { ...line, width: 0, paths: () => null, points: { show: true, size: 5, width: 0, fill: hue } };
            if (kind === 'step') return { ...line, paths: uPlot.paths.stepped({ align: 1 }) };
            // A line has a gap where more than seven buckets have no values.
            return { ...line, spanGaps: true, gaps: (u, s, first, last) => this.gaps(u, first, last) };
          }),
        ],
        hooks: { setCursor: [u => this.point(u.cursor.idx)] },
      };
    }

    gaps(u, first, last) {
      const found = [];
      for (let i = first + 1; i <= last; i++) {
        if (this.times[i] - this.times[i - 1] > 8 * this.width) {
          found.push([u.valToPos(this.times[i - 1], 'x', true), u.valToPos(this.times[i], 'x', true)]);
        }
      }
      return found;
    }

    height() { return this.plot.clientWidth < 480 ? 200 : 240; }

    resize() {
      if (this.uplot && this.plot.clientWidth > 0) this.uplot.setSize({ width: this.plot.clientWidth, height: this.height() });
      else if (!this.uplot && this.times.length > 0) this.draw();
    }

    // point shows the values at an index, or the last ones.
    point(i) {
      const last = this.times.length - 1;
      if (i == null) i = last;
      this.at = i;
      const labels = this.chart.series.map(s => s.label);
      const values = this.values.map((v, s) => show(this.chart, s, v[i]));
      const time = i < 0 ? '–' : when(this.every, this.times[i]);
      this.legend.replaceChildren(
        element('div', { class: 'when' }, element('dt', {}, i === last ? 'latest' : 'at'), element('dd', {}, time)),
        ...labels.map((label, s) => element('div', {}, element('dt', { class: 's' + s }, label), element('dd', {}, values[s]))),
      );
      this.plot.setAttribute('aria-valuemin', 0);
      this.plot.setAttribute('aria-valuemax', Math.max(0, last));
      this.plot.setAttribute('aria-valuenow', Math.max(0, i));
      this.plot.setAttribute('aria-valuetext', time + ': ' + labels.map((label, s) => label + ' ' + values[s]).join(', '));
    }

    key(event) {
      const last = this.times.length - 1;
      const to = { ArrowLeft: this.at - 1, ArrowDown: this.at - 1, ArrowRight: this.at + 1, ArrowUp: this.at + 1, PageDown: this.at - 10, PageUp: this.at + 10, Home: 0, End: last }[event.key];
      if (to === undefined || !this.uplot || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const i = Math.min(last, Math.max(0, to));
      this.uplot.setCursor({ left: this.uplot.valToPos(this.times[i], 'x'), top: 1 });
      this.point(i);
    }

    // tabulate writes the values into the table below the chart, if that is open.
    tabulate() {
      const old = this.data.querySelector('.scroll');
      if (old) old.remove();
      if (!this.data.open) return;
      const { chart, every, times, values } = this;
      const head = element('tr', {}, element('th', { scope: 'col' }, 'Time (UTC)'), ...chart.series.map(s => element('th', { scope: 'col', class: 'n' }, s.label)));
      const body = times.map((time, i) => element('tr', {}, element('th', { scope: 'row' }, when(every, time)), ...values.map((v, s) => element('td', { class: 'n' }, show(chart, s, v[i], true)))));
      const table = element('table', {}, element('caption', {}, chart.title), element('thead', {}, head), element('tbody', {}, ...body.reverse()));
      this.data.append(element('div', { class: 'scroll tall', role: 'region', tabindex: '0', 'aria-label': 'Data of ' + chart.title }, table));
    }
  }

  const drawings = [];
  const begin = figure => {
    const chart = drawn[figure.id];
    delete drawn[figure.id];
    if (!chart) return;
    const drawing = new Drawing(figure, chart);
    drawings.push(drawing);
    if (chart.width > 0) drawing.since(since);
  };

  // Charts of the data show one period, which ends with the last value of any of them.
  let since = -Infinity;
  const section = document.querySelector('#charts .charts');
  if (section) {
    const ofData = Object.values(drawn).filter(c => c.width > 0);
    const first = Math.min(...ofData.map(c => c.times[0]));
    const last = Math.max(...ofData.map(c => c.times[c.times.length - 1]));
    const shorter = periods.filter(([, days]) => days === Infinity || last - first > days * day);
    if (shorter.length > 1) {
      const choice = element('fieldset', { class: 'periods' }, element('legend', {}, 'Period'));
      const start = shorter.length > 2 ? 1 : shorter.length - 1;
      shorter.forEach(([label, days], i) => {
        const input = element('input', { type: 'radio', name: 'period' });
        const choose = () => {
          since = last - days * day + 1;
          for (const d of drawings) if (d.chart.width > 0) d.since(since);
        };
        input.addEventListener('change', choose);
        choice.append(element('label', {}, input, element('span', {}, label)));
        if (i === start) {
          input.checked = true;
          choose();
        }
      });
      section.before(choice);
    }
  }

  // A page can have hundreds of charts: each is drawn when it comes near.
  const figures = [...document.querySelectorAll('figure.chart')];
  const near = new IntersectionObserver(entries => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      begin(entry.target);
    }
  }, { rootMargin: '800px' });
  for (const figure of figures) near.observe(figure);
  addEventListener('beforeprint', () => figures.forEach(begin));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => drawings.forEach(d => d.draw()));
})();
