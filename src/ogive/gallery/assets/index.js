/* The index: search that forgives typos, filters, order; arrows from tile to tile. */
'use strict';
const SEARCH = (() => {
  const plain = text => text.normalize('NFKD').replace(/[\u0300-\u036f]/g, '').toLowerCase();
  const words = text => plain(text).split(/[^a-z0-9]+/).filter(Boolean);
  const dense = text => plain(text).replace(/[^a-z0-9]+/g, '');
  const packed = text => plain(text).replace(/\*\*/g, '^').replace(/\s+/g, '');

  const prepare = row => ({
    row,
    name: dense(row.name), names: [row.name, ...row.aliases].map(dense),
    words: [...new Set([row.name, ...row.aliases].flatMap(words))],
    authors: [...new Set(row.authors.flatMap(words))],
    family: words(row.family), formula: packed(row.formula), year: String(row.year ?? ''),
  });

  /* Edits (a swap of neighbours counts one) from `a` to the nearest beginning of `b`, or `most` + 1. */
  const edits = (a, b, most) => {
    if (Math.abs(a.length - b.length) > most && b.length < a.length - most) return most + 1;
    let two = [], one = [...Array(b.length + 1).keys()], row;
    for (let i = 1; i <= a.length; i++) {
      row = [i];
      for (let j = 1; j <= b.length; j++) {
        const same = a[i - 1] === b[j - 1] ? 0 : 1;
        row[j] = Math.min(one[j] + 1, row[j - 1] + 1, one[j - 1] + same);
        if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], two[j - 2] + 1);
      }
      if (Math.min(...row) > most) return most + 1;
      [two, one] = [one, row];
    }
    return Math.min(...one.slice(Math.max(0, a.length - most)));
  };
  const allowed = length => length < 4 ? 0 : length < 8 ? 1 : 2;

  const wordScore = (token, list, full) => {
    let best = 0;
    const most = allowed(token.length);
    for (const word of list) {
      if (word === token) best = Math.max(best, full);
      else if (word.startsWith(token)) best = Math.max(best, full * 0.85);
      else if (token.length > 2 && word.includes(token)) best = Math.max(best, full * 0.6);
      else if (most && best < full * 0.5) {
        const off = edits(token, word, most);
        if (off <= most) best = Math.max(best, full * (0.5 - 0.1 * off));
      }
    }
    return best;
  };

  /* How well a row answers: 0 not at all. Every word of the query must be found somewhere. */
  const score = (entry, query) => {
    const whole = dense(query);
    if (!whole) return packed(query) ? (entry.formula.includes(packed(query)) ? 1 : 0) : 1;
    const formula = packed(query);
    let total = entry.name === whole ? 400 : entry.names.includes(whole) ? 350 : 0;
    total = Math.max(total, 0.9 * wordScore(whole, entry.names, 260));
    if (formula.length > 2 && /[^a-z0-9]/.test(formula) && entry.formula.includes(formula)) total = Math.max(total, 120);
    let sum = 0;
    for (const token of words(query)) {
      const best = Math.max(
        wordScore(token, entry.words, 100), wordScore(token, entry.names, 90), wordScore(token, entry.authors, 60),
        wordScore(token, entry.family, 40), entry.year === token ? 50 : 0,
        token.length > 2 && entry.formula.includes(token) ? 20 : 0);
      if (!best) { sum = 0; break; }
      sum += best;
    }
    return Math.max(total, sum);
  };
  return { prepare, score };
})();

document.addEventListener('DOMContentLoaded', () => {
  const list = document.querySelector('main > .tiles');
  if (!list) return;
  const tiles = [...list.children];
  arrows(list);
  const form = document.querySelector('form.controls');
  if (!form || typeof CATALOGUE === 'undefined') return;
  const byName = new Map(tiles.map(tile => [tile.dataset.name, tile]));
  const entries = CATALOGUE.map(SEARCH.prepare);
  const count = document.querySelector('.count'), empty = document.querySelector('.empty');
  const orders = {
    name: (a, b) => a.name.toLowerCase() < b.name.toLowerCase() ? -1 : 1,
    cost: (a, b) => (a.kind !== b.kind ? (a.kind === 'entry' ? -1 : 1) : a.cost - b.cost) || orders.name(a, b),
    new: (a, b) => (b.year ?? 0) - (a.year ?? 0) || orders.name(a, b),
    old: (a, b) => (a.year ?? 9999) - (b.year ?? 9999) || orders.name(a, b),
  };

  const update = () => {
    const query = form.q.value.trim(), flags = [...form.querySelectorAll('[name=flag]:checked')].map(box => box.value);
    const family = form.family.value, from = Number(form.from.value), to = Number(form.to.value);
    const everyYear = from <= Number(form.from.min) && to >= Number(form.to.max);
    const found = [];
    for (const entry of entries) {
      const row = entry.row;
      if (family && row.family !== family) continue;
      if (flags.some(flag => !row.flags.includes(flag))) continue;
      if (!everyYear && !(row.year >= from && row.year <= to)) continue;
      const points = query ? SEARCH.score(entry, query) : 1;
      if (points) found.push([points, row]);
    }
    const order = orders[form.order.value];
    found.sort((a, b) => b[0] - a[0] || order(a[1], b[1]));
    const shown = new Set(found.map(([, row]) => row.name));
    for (const tile of tiles) tile.hidden = !shown.has(tile.dataset.name);
    list.append(...found.map(([, row]) => byName.get(row.name)));
    count.textContent = found.length === entries.length ? `${found.length} shown` : `${found.length} of ${entries.length} shown`;
    empty.hidden = found.length > 0;
  };

  form.addEventListener('input', update);
  form.addEventListener('change', update);
  form.addEventListener('submit', event => {
    event.preventDefault();
    if (form.q.value.trim()) list.querySelector('li:not([hidden]) a')?.click();
  });
  form.q.addEventListener('keydown', event => {
    if (event.key === 'Escape') { form.q.value = ''; update(); }
    if (event.key === 'ArrowDown') { event.preventDefault(); list.querySelector('li:not([hidden]) a')?.focus(); }
  });
  document.querySelector('.clear').addEventListener('click', () => { form.reset(); update(); form.q.focus(); });
  if (location.hash === '#search') form.q.focus();
  else if (location.hash.startsWith('#q=')) form.q.value = decodeURIComponent(location.hash.slice(3));
  update();  /* a browser that came back may have kept the fields */
});

function arrows(list) {
  list.addEventListener('keydown', event => {
    const link = event.target.closest('a');
    if (!link || event.altKey || event.ctrlKey || event.metaKey) return;
    const links = [...list.querySelectorAll(':scope > li:not([hidden]) > a')];
    const at = links.indexOf(link);
    const top = links[0].getBoundingClientRect().top;
    const wide = Math.max(1, links.findIndex(other => other.getBoundingClientRect().top > top + 4));
    const columns = links.length && links.at(-1).getBoundingClientRect().top <= top + 4 ? links.length : wide;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns,
      Home: -at, End: links.length - 1 - at }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    if (event.key === 'ArrowUp' && at < columns) document.querySelector('input[type=search]')?.focus();
    else links[Math.min(links.length - 1, Math.max(0, at + step))].focus();
  });
}
