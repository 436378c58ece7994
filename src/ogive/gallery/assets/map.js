/* The map: what the pointer or the focus is on, families to light up, finding, zoom and drag. */
'use strict';
document.addEventListener('DOMContentLoaded', () => {
  const map = document.querySelector('svg.map'), preview = document.querySelector('.preview');
  const points = [...map.querySelectorAll('a')], rows = new Map(CATALOGUE.map(row => [row.name, row]));
  const [, , WIDTH, HEIGHT] = map.getAttribute('viewBox').split(' ').map(Number);
  const NS = 'http://www.w3.org/2000/svg';

  const show = point => {
    const row = rows.get(point.dataset.name), [d, axis] = point.dataset.spark.split('|');
    const picture = document.createElementNS(NS, 'svg'), zero = document.createElementNS(NS, 'path'), curve = document.createElementNS(NS, 'path');
    picture.setAttribute('viewBox', '0 0 100 60');
    picture.setAttribute('class', 'spark');
    zero.setAttribute('class', 'zero');
    zero.setAttribute('d', `M50 2V58${axis ? `M2 ${axis}H98` : ''}`);
    curve.setAttribute('class', 'curve');
    curve.setAttribute('d', d);
    picture.append(zero, curve);
    const link = document.createElement('a'), small = document.createElement('small'), code = document.createElement('code');
    link.href = point.getAttribute('href');
    link.textContent = row.name;
    small.textContent = [row.family.replaceAll('_', ' '), row.year].filter(Boolean).join(' · ');
    code.textContent = row.formula;
    preview.replaceChildren(picture, link, small, code);
    for (const other of points) other.classList.toggle('at', other === point);
  };
  for (const point of points) {
    point.addEventListener('pointerenter', () => show(point));
    point.addEventListener('focus', () => show(point));
  }

  const lit = { shape: new Set(), family: new Set() }, search = document.querySelector('.mapped input[type=search]');
  const light = () => {
    const query = search.value.trim().toLowerCase();
    for (const point of points) {
      const row = rows.get(point.dataset.name);
      const found = !query || [row.name, ...row.aliases].some(name => name.toLowerCase().includes(query));
      point.classList.toggle('dim', !(found && Object.entries(lit).every(([kind, wanted]) => !wanted.size || wanted.has(point.dataset[kind]))));
      point.classList.toggle('hit', Boolean(query) && found);
    }
    const hit = query && (points.find(p => p.dataset.name === query) ?? points.find(p => p.classList.contains('hit')));
    if (hit) show(hit);
  };
  search.addEventListener('input', light);
  search.addEventListener('keydown', event => {
    if (event.key === 'Escape') { search.value = ''; light(); }
    if (event.key === 'Enter') { event.preventDefault(); map.querySelector('a.at')?.focus(); }
  });
  document.querySelector('.mapped aside').addEventListener('click', event => {
    const button = event.target.closest('.legend button');
    if (!button) return;
    const wanted = lit[button.dataset.kind], value = button.dataset.value;
    if (!wanted.delete(value)) wanted.add(value);
    button.setAttribute('aria-pressed', wanted.has(value));
    light();
  });

  /* Arrows go to the nearest point in that direction. */
  map.addEventListener('keydown', event => {
    const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    const from = event.target.closest('a');
    if (!way || !from) return;
    event.preventDefault();
    const at = p => { const c = p.querySelector('circle'); return [Number(c.getAttribute('cx')), Number(c.getAttribute('cy'))]; };
    const [x, y] = at(from);
    let best = null, least = Infinity;
    for (const point of points) {
      if (point === from || point.classList.contains('dim')) continue;
      const [u, v] = at(point), along = (u - x) * way[0] + (v - y) * way[1];
      const across = Math.abs((u - x) * way[1]) + Math.abs((v - y) * way[0]);
      const far = along + 2.5 * across;
      if (along > 0.5 && far < least) { best = point; least = far; }
    }
    best?.focus();
  });

  const view = { x: 0, y: 0, w: WIDTH, h: HEIGHT };
  const apply = () => {
    view.x = Math.min(WIDTH - view.w, Math.max(0, view.x));
    view.y = Math.min(HEIGHT - view.h, Math.max(0, view.y));
    map.setAttribute('viewBox', `${view.x} ${view.y} ${view.w} ${view.h}`);
    map.style.setProperty('--zoom', WIDTH / view.w);
  };
  const zoom = (factor, cx = view.x + view.w / 2, cy = view.y + view.h / 2) => {
    const w = factor ? Math.min(WIDTH, Math.max(WIDTH / 16, view.w / factor)) : WIDTH;
    const share = w / view.w;
    Object.assign(view, { x: cx - (cx - view.x) * share, y: cy - (cy - view.y) * share, w, h: w * HEIGHT / WIDTH });
    apply();
  };
  const buttons = document.querySelector('.zoom');
  buttons.hidden = false;
  buttons.addEventListener('click', event => {
    const button = event.target.closest('button');
    if (button) zoom(Number(button.dataset.zoom));
  });
  const place = event => {
    const box = map.getBoundingClientRect();
    return [view.x + (event.clientX - box.left) / box.width * view.w, view.y + (event.clientY - box.top) / box.height * view.h];
  };
  map.addEventListener('wheel', event => {  /* the page scrolls as usual; with Ctrl, or a pinch, the map zooms */
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 200), ...place(event));
  }, { passive: false });
  let from = null, moved = false;
  map.addEventListener('pointerdown', event => { from = place(event); moved = false; });
  map.addEventListener('pointermove', event => {
    if (!from || !event.buttons || view.w >= WIDTH) return;
    const [x, y] = place(event);
    if (Math.hypot(x - from[0], y - from[1]) > 4) moved = true;
    if (moved) { view.x += from[0] - x; view.y += from[1] - y; apply(); }
  });
  map.addEventListener('click', event => { if (moved) event.preventDefault(); });
  map.addEventListener('dragstart', event => event.preventDefault());
  apply();
});
