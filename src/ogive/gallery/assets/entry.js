/* An entry's page: sliders, the range of x, values under the pointer, copying, the arrows. */
'use strict';
document.addEventListener('DOMContentLoaded', () => {
  for (const box of document.querySelectorAll('.copyable')) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'copy';
    button.textContent = 'Copy';
    button.addEventListener('click', async () => {
      const code = box.querySelector('code');
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = 'Copied';
      } catch {  /* no clipboard for pages from a file, in some browsers: select it instead */
        getSelection().selectAllChildren(code);
        button.textContent = 'Selected';
      }
      setTimeout(() => { button.textContent = 'Copy'; }, 1500);
    });
    box.append(button);
  }

  document.addEventListener('keydown', event => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest('input, select, textarea, pre, .scroll, .formula')) return;
    const rel = { ArrowLeft: 'prev', ArrowRight: 'next' }[event.key];
    const link = rel && document.querySelector(`a[rel=${rel}]`);
    if (link) link.click();
  });

  const target = document.querySelector('svg.plot');
  const [entry] = OGIVE.found.values();
  if (!target || !entry?.orders) return;
  let reach = 5;
  const defaults = entry.params.map(param => param.value);
  const p = [...defaults];
  const one = { name: entry.name, orders: entry.orders, p, look: null, surrogate: entry.surrogate };
  const draw = () => PLOT.draw(target, [one], reach);

  const form = document.querySelector('form.sliders');
  if (form) {
    form.hidden = false;
    const trouble = form.querySelector('.trouble');
    const admits = (param, v) => Number.isFinite(v) &&
      (param.least === null || (param.closed ? v >= param.least : v > param.least)) &&
      (param.most === null || (param.closed ? v <= param.most : v < param.most));
    form.addEventListener('input', event => {
      const i = Number(event.target.dataset.index), v = event.target.valueAsNumber, param = entry.params[i];
      if (!admits(param, v)) {
        trouble.textContent = `${param.name} takes a number ${param.note.startsWith('in ') ? param.note.split(';')[0] : ''}`.trim();
        return;
      }
      trouble.textContent = '';
      p[i] = v;
      for (const twin of form.querySelectorAll(`[data-index="${i}"]`)) {
        if (twin !== event.target) twin.value = Number(v.toPrecision(6));
      }
      draw();
    });
    form.addEventListener('submit', event => event.preventDefault());
    form.addEventListener('reset', () => {
      defaults.forEach((v, i) => { p[i] = v; });
      trouble.textContent = '';
      setTimeout(draw);
    });
  }

  const ranges = document.querySelector('.ranges');
  ranges.hidden = false;
  ranges.addEventListener('click', event => {
    const button = event.target.closest('button');
    if (!button) return;
    reach = Number(button.dataset.reach);
    for (const other of ranges.children) other.setAttribute('aria-pressed', other === button);
    draw();
  });
  PLOT.reading(target, document.querySelector('.reading'), () => ({ shown: [one], reach }));
});
