/* f, f' and f'' in three panels, as ogive.gallery.picture draws them, for any parameters and range. */
'use strict';
const OGIVE = {
  found: new Map(),
  define(about, f, d1, d2) { this.found.set(about.name, { ...about, orders: f ? [f, d1, d2] : null }); },
};

const PLOT = (() => {
  const WIDTH = 640, LEFT = 52, RIGHT = 628, PANELS = [[24, 264], [306, 406], [448, 548]];
  const TITLES = ['f(x)', 'f′(x)', 'f″(x)'], FLAT = 0.01, SAMPLES = 900, MOST_MARKS = 24;

  const svg = (tag, attributes, ...children) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const scale = (low, high, start, end) => v =>
    Math.max(-5000, Math.min(5000, start + (v - low) / (high - low) * (end - start)));
  const number = v => {
    const text = v === 0 || (Math.abs(v) >= 1e-4 && Math.abs(v) < 1e6) ? String(Number(v.toPrecision(6))) : v.toExponential(2);
    return text.replace('e+', 'e').replace(/-/g, '−');
  };
  const ticks = (low, high, most) => {
    const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw * (1 - 1e-9));
    const out = [];
    for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9); i++) out.push(Number((i * step).toPrecision(12)));
    return out;
  };

  /* Samples in pieces; a leap that halving the step forty times does not shrink is a jump, and lifts the pen. */
  const sample = (f, p, reach) => {
    const pieces = [[]], jumps = [];
    let x0, y0;
    const step = 2 * reach / SAMPLES, near = [];
    for (let i = 0; i <= SAMPLES; i++) {
      const x = -reach + i * step, y = Number(f(x, p));
      near.push([x, y]);
    }
    const typical = near.map(([, y]) => Math.abs(y)).filter(Number.isFinite).sort((a, b) => a - b);
    const size = typical.length ? typical[Math.floor(0.8 * (typical.length - 1))] || typical.at(-1) : 1;
    for (const [x, y] of near) {
      if (!Number.isFinite(y)) { if (pieces.at(-1).length) pieces.push([]); x0 = undefined; continue; }
      if (x0 !== undefined && Math.abs(y - y0) > 1e-3 * size) {
        const leap = narrow(f, p, x0, y0, x, y);
        if (leap) { pieces.at(-1).push([leap[0], leap[1]]); pieces.push([[leap[0], leap[2]]]); jumps.push(leap); }
      }
      pieces.at(-1).push([x, y]);
      [x0, y0] = [x, y];
    }
    return { pieces: pieces.filter(piece => piece.length > 1), jumps };
  };
  const narrow = (f, p, a, ya, b, yb) => {
    const first = Math.abs(yb - ya);
    for (let i = 0; i < 40; i++) {
      const m = 0.5 * (a + b), ym = Number(f(m, p));
      if (!Number.isFinite(ym)) return null;
      if (Math.abs(ym - ya) > Math.abs(yb - ym)) [b, yb] = [m, ym]; else [a, ya] = [m, ym];
      if (Math.abs(yb - ya) < 0.3 * first * 0.5 ** (i / 3)) return null;
    }
    return [0.5 * (a + b), ya, yb];
  };

  const worth = (curves, reach) => {
    let low = Infinity, high = -Infinity;
    const cap = 1.2 * reach;
    for (const curve of curves) {
      const v = curve.pieces.flat().map(point => point[1]).sort((a, b) => a - b);
      if (!v.length) continue;
      let least = v[0], most = v.at(-1);
      if (Math.max(-least, most) > 2.5 * cap) {
        if (v.filter(y => Math.abs(y) <= cap).length >= 0.45 * v.length) { least = Math.max(least, -cap); most = Math.min(most, cap); }
        else {
          const p = v[Math.floor(0.1 * (v.length - 1))], q = v[Math.floor(0.9 * (v.length - 1))];
          if (most - least > 20 * (q - p) && q > p) { least = Math.max(least, 2 * p - q); most = Math.min(most, 2 * q - p); }
        }
      }
      low = Math.min(low, least);
      high = Math.max(high, most);
    }
    if (!(low <= high)) [low, high] = [-1, 1];
    if (high - low < 1e-9 * Math.max(1, Math.abs(high))) [low, high] = [low - 1, high + 1];
    const margin = 0.06 * (high - low);
    return [low - margin, high + margin];
  };

  const flatStretches = curve => {
    const points = curve.pieces.flat(), most = Math.max(0, ...points.map(point => Math.abs(point[1])));
    const out = [];
    let start = null, last = null;
    for (const [x, y] of points) {
      if (Math.abs(y) <= FLAT * most) { start ??= x; last = x; }
      else { if (start !== null && last - start >= 0.4) out.push([start, last]); start = null; }
    }
    if (start !== null && last - start >= 0.4) out.push([start, last]);
    return out;
  };

  const outline = (pieces, xs, ys) => pieces.map(piece =>
    'M' + piece.map(([x, y]) => `${xs(x).toFixed(1)} ${ys(y).toFixed(1)}`).join('L')).join('');

  const dots = (curve, look, xs, ys, low, high) => curve.jumps.length > MOST_MARKS ? [] : curve.jumps.flatMap(([x, a, b]) =>
    [a, b].filter(y => y >= low && y <= high).map(y => svg('circle', { cx: xs(x), cy: ys(y), r: 3.2, class: `dot open ${look}` })));

  /* `shown`: [{orders, p, look}], look a class of the style sheet, or null for one function (k0, k1, k2). */
  const draw = (target, shown, reach) => {
    const keep = [...target.querySelectorAll(':scope > title, :scope > desc')];
    const xs = scale(-reach, reach, LEFT, RIGHT), alone = shown.length === 1;
    const sampled = shown.map(one => one.orders.map(f => sample(f, one.p, reach)));
    const panels = PANELS.map(([top, bottom], k) => {
      const curves = sampled.map(orders => orders[k]);
      const [low, high] = worth(curves, reach), ys = scale(low, high, bottom, top);
      const group = svg('g', { class: 'panel', 'data-order': k });
      group.append(svg('clipPath', { id: `clip${k}` }, svg('rect', { x: LEFT, y: top, width: RIGHT - LEFT, height: bottom - top })));
      if (alone && k < 2) {
        for (const [a, b] of flatStretches(sampled[0][1])) {
          group.append(svg('rect', { x: xs(a), y: top, width: Math.max(0, xs(b) - xs(a)), height: bottom - top, class: 'flat' }));
        }
      }
      for (const t of ticks(-reach, reach, 10)) {
        group.append(svg('path', { d: `M${xs(t)} ${top}V${bottom}`, class: t === 0 ? 'axis' : 'grid' }));
        if (k === 2) group.append(svg('text', { x: xs(t), y: bottom + 17, 'text-anchor': 'middle' }, number(t)));
      }
      for (const t of ticks(low, high, Math.max(3, Math.floor((bottom - top) / 42)))) {
        group.append(svg('path', { d: `M${LEFT} ${ys(t)}H${RIGHT}`, class: t === 0 ? 'axis' : 'grid' }));
        group.append(svg('text', { x: LEFT - 8, y: ys(t) + 4, 'text-anchor': 'end' }, number(t)));
      }
      const backward = k && shown.some(one => one.surrogate) ? ' (declared backward)' : '';
      group.append(svg('text', { x: LEFT, y: top - 9, class: 'title' }, TITLES[k] + backward));
      const inside = svg('g', { 'clip-path': `url(#clip${k})` });
      curves.forEach((curve, i) => {
        const look = shown[i].look ?? `k${k}`;
        inside.append(svg('path', { d: outline(curve.pieces, xs, ys), class: `line ${look}` }));
      });
      if (alone && k === 0) {  /* kinks: the slope jumps, the function does not */
        const leaps = sampled[0][0].jumps.map(jump => jump[0]);
        const kinks = sampled[0][1].jumps.map(jump => jump[0]).filter(x => leaps.every(l => Math.abs(l - x) > 1e-6));
        if (kinks.length <= MOST_MARKS && !shown[0].surrogate) {
          for (const x of kinks) inside.append(svg('circle', { cx: xs(x), cy: ys(shown[0].orders[0](x, shown[0].p)), r: 5.5, class: 'kink' }));
        }
      }
      group.append(inside);
      curves.forEach((curve, i) => group.append(...dots(curve, shown[i].look ?? `k${k}`, xs, ys, low, high)));
      return group;
    });
    target.replaceChildren(...keep, ...panels);
  };

  /* The values under the pointer, in words beside the picture. */
  const reading = (target, output, current) => {
    const cursor = svg('path', { class: 'cursor', d: '' });
    const leave = () => { cursor.remove(); output.textContent = ''; };
    target.addEventListener('pointerleave', leave);
    target.addEventListener('pointermove', event => {
      const { shown, reach } = current();
      const box = target.getBoundingClientRect();
      const px = (event.clientX - box.left) * WIDTH / box.width;
      if (px < LEFT || px > RIGHT || !shown.length) return leave();
      const x = -reach + (px - LEFT) / (RIGHT - LEFT) * 2 * reach;
      cursor.setAttribute('d', PANELS.map(([top, bottom]) => `M${px} ${top}V${bottom}`).join(''));
      target.append(cursor);
      const say = v => Number.isFinite(v) ? number(Number(v.toPrecision(4))) : 'not finite';
      const round = number(Number(x.toFixed(Math.max(0, 2 - Math.floor(Math.log10(reach / 5))))));
      output.textContent = shown.length === 1
        ? `x = ${round}   f = ${say(Number(shown[0].orders[0](x, shown[0].p)))}   f′ = ${say(Number(shown[0].orders[1](x, shown[0].p)))}`
        : `x = ${round}   ` + shown.map(one => `${one.name} ${say(Number(one.orders[0](x, one.p)))}`).join('   ');
    });
  };
  return { draw, reading, sample };
})();
