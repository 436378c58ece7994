/* Theme, the '/' key and what was picked for comparison: on every page. */
'use strict';
const SITE = (() => {
  const MOST = 4;
  /* Storage may be refused (private windows, some file: pages); then choices last as long as the page. */
  const kept = {};
  const read = key => { try { return localStorage.getItem(key) ?? kept[key] ?? ''; } catch { return kept[key] ?? ''; } };
  const keep = (key, value) => { kept[key] = value; try { localStorage.setItem(key, value); } catch { /* kept above */ } };

  const paint = theme => {
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  paint(read('ogive-theme'));

  const picked = () => read('ogive-picked').split(',').filter(Boolean).slice(0, MOST);
  const pick = name => {
    const now = picked();
    const at = now.indexOf(name);
    if (at >= 0) now.splice(at, 1);
    else if (now.length < MOST) now.push(name);
    else { now.shift(); now.push(name); }
    keep('ogive-picked', now.join(','));
    show();
  };
  const link = names => `${document.body.dataset.root}compare.html#${names.map(encodeURIComponent).join(',')}`;
  const show = () => {
    const now = picked();
    for (const button of document.querySelectorAll('button.pick')) {
      const on = now.includes(button.dataset.name);
      button.setAttribute('aria-pressed', on);
      if (button.textContent.length > 1) button.textContent = on ? 'In comparison' : 'Add to comparison';
      else button.textContent = on ? '✓' : '+';
    }
    const tray = document.querySelector('.tray');
    if (!tray) return;
    tray.hidden = now.length === 0;
    document.body.classList.toggle('has-tray', now.length > 0);
    tray.querySelector('.go').href = link(now);
    tray.querySelector('.go').textContent = now.length > 1 ? `Compare ${now.length}` : 'Compare';
    tray.querySelector('.picked').replaceChildren(...now.map(name => {
      const item = document.createElement('li'), drop = document.createElement('button');
      drop.type = 'button';
      drop.textContent = `${name} ×`;
      drop.setAttribute('aria-label', `Remove ${name}`);
      drop.addEventListener('click', () => pick(name));
      item.append(drop);
      return item;
    }));
  };

  const typing = target => target.closest?.('input, select, textarea, [contenteditable]') &&
    !['checkbox', 'radio', 'button', 'range'].includes(target.type);

  document.addEventListener('DOMContentLoaded', () => {
    const theme = read('ogive-theme') || 'auto';
    for (const radio of document.querySelectorAll('input[name=theme]')) {
      radio.checked = radio.value === theme;
      radio.addEventListener('change', () => { keep('ogive-theme', radio.value); paint(radio.value); });
    }
    document.addEventListener('click', event => {
      const button = event.target.closest('button.pick');
      if (button) pick(button.dataset.name);
    });
    document.addEventListener('keydown', event => {
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      event.preventDefault();
      const search = document.querySelector('input[type=search], .slots input');
      if (search) { search.focus(); search.select(); } else location.href = `${document.body.dataset.root}index.html#search`;
    });
    window.addEventListener('pageshow', show);  /* also when the reader comes back */
    show();
  });
  return { picked, pick, typing };
})();
