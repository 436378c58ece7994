/* Up to four entries over one another. The choice stands in the address: compare.html#gelu,silu. */
'use strict';
document.addEventListener('DOMContentLoaded', () => {
  const inputs = [...document.querySelectorAll('.slots input')], trouble = document.querySelector('.trouble');
  const target = document.querySelector('svg.plot'), table = document.querySelector('table.facts');
  const known = new Map(CATALOGUE.filter(row => row.kind === 'entry' && row.inputs === 1).map(row => [row.name, row]));
  const other = new Map(CATALOGUE.flatMap(row => row.aliases.map(alias => [alias, row.name])));
  const smoothness = ['jumps', 'continuous, with kinks', 'continuous slope', 'continuous curvature'];
  const yes = flag => flag ? 'yes' : 'no';
  const say = v => v === null || v === undefined ? '–' : String(Number(Number(v).toPrecision(5))).replace('-', '−');
  const facts = [
    ['family', row => row.family.replaceAll('_', ' ')], ['published', row => row.source || '–'], ['formula', row => row.formula],
    ['monotone', row => row.monotone ?? 'no'], ['bounded', row => yes(row.flags.includes('bounded'))],
    ['least', row => ['below', 'both'].includes(row.ends) ? 'unbounded' : say(row.low)],
    ['greatest', row => ['above', 'both'].includes(row.ends) ? 'unbounded' : say(row.high)],
    ['smoothness', row => row.smooth === null ? '–' : smoothness[row.smooth]], ['f(0) = 0', row => yes(row.zero)],
    ['symmetry', row => row.parity ?? 'none'], ['parameters', row => row.params.join(', ') || 'none'],
    ['forward gain', row => say(row.gain)], ['cost, in exponentials', row => say(row.cost)],
    ['kept for backward', row => `${say(row.saved)} bytes`],
  ];
  let reach = 5, shown = [];
  document.getElementById('names').append(...[...known.keys()].map(name => new Option(name, name)));

  const load = name => new Promise((resolve, reject) => {
    if (OGIVE.found.has(name)) return resolve();
    const script = document.createElement('script');
    script.src = `entry/${name}.js`;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`cannot load entry/${name}.js`));
    document.head.append(script);
  });
  const chosen = () => inputs.map(input => input.value.trim()).map(name => other.get(name) ?? name);

  const update = async () => {
    const names = chosen(), wrong = names.filter(name => name && !known.has(name));
    const good = names.map((name, i) => [name, i]).filter(([name]) => known.has(name));
    trouble.textContent = wrong.length ? `Not an entry of one input: ${wrong.join(', ')}.` : '';
    try { await Promise.all(good.map(([name]) => load(name))); }
    catch (error) { trouble.textContent = error.message; return; }
    shown = good.map(([name, i]) => ({ ...OGIVE.found.get(name), look: `s${i}` })).filter(one => one.orders)
      .map(one => ({ ...one, p: one.params.map(param => param.value) }));
    PLOT.draw(target, shown, reach);
    target.setAttribute('aria-label', shown.length ? `f, f′ and f″ of ${shown.map(one => one.name).join(', ')}` : 'Nothing chosen');
    tell(good);
    const hash = `#${good.map(([name]) => encodeURIComponent(name)).join(',')}`;
    if (location.hash !== hash) history.replaceState(null, '', hash);
  };

  const cell = (tag, text) => { const made = document.createElement(tag); made.textContent = text; return made; };
  const tell = good => {
    const head = document.createElement('tr');
    head.append(cell('th', ''), ...good.map(([name, i]) => {
      const th = cell('th', ''), link = cell('a', name), spot = cell('span', '');
      spot.className = `spot s${i}`;
      link.href = `entry/${name}.html`;
      th.scope = 'col';
      th.append(spot, link);
      return th;
    }));
    const rows = facts.map(([label, get]) => {
      const row = document.createElement('tr'), th = cell('th', label);
      th.scope = 'row';
      const values = good.map(([name]) => get(known.get(name)));
      if (new Set(values).size > 1) row.className = 'differs';
      row.append(th, ...values.map(value => cell('td', value)));
      return row;
    });
    table.replaceChildren(...(good.length ? [head, ...rows] : []));
  };

  const fromAddress = () => {
    const names = location.hash.slice(1).split(',').filter(Boolean).map(decodeURIComponent);
    const start = names.length ? names : SITE.picked();
    inputs.forEach((input, i) => { input.value = start[i] ?? ''; });
    update();
  };
  for (const input of inputs) input.addEventListener('change', update);
  document.querySelector('.slots').addEventListener('click', event => {
    const button = event.target.closest('.drop');
    if (!button) return;
    const input = button.closest('li').querySelector('input');
    input.value = '';
    input.focus();
    update();
  });
  document.querySelector('.ranges').addEventListener('click', event => {
    const button = event.target.closest('button');
    if (!button) return;
    reach = Number(button.dataset.reach);
    for (const twin of event.currentTarget.children) twin.setAttribute('aria-pressed', twin === button);
    PLOT.draw(target, shown, reach);
  });
  window.addEventListener('hashchange', fromAddress);
  PLOT.reading(target, document.querySelector('.reading'), () => ({ shown, reach }));
  fromAddress();
});
