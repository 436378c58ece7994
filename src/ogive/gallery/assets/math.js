/* The primitives of a formula for plots: the same arrangements as ogive.stable, in double precision.
   Accuracy is that of a picture with room to spare (a test holds every entry to 1e-9 of Python's value). */
'use strict';
const M = (() => {
  const HALF_ROOT = Math.SQRT1_2, TWO_OVER_ROOT_PI = 2 / Math.sqrt(Math.PI);

  /* An exact zero wins over an overflow: exp(x) sech2(exp(x)) is 0 far out, not inf * 0. */
  const mul = (a, b) => { const v = a * b; return v !== v && (a === 0 || b === 0) ? 0 : v; };
  const pow = (a, b) => a === 1 || b === 0 ? 1 : Math.pow(a, b);
  const xlogy = (a, b) => a === 0 ? 0 : a * Math.log(b);
  const round = x => {  /* halves go to the even neighbour */
    const low = Math.floor(x), rest = x - low;
    return rest < 0.5 ? low : rest > 0.5 ? low + 1 : low % 2 === 0 ? low : low + 1;
  };

  const sigmoid = x => x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x));
  const softplus = x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  const sech2 = x => { const t = Math.exp(-2 * Math.abs(x)), u = 1 + t; return 4 * t / (u * u); };
  const logcosh = x => {
    const a = Math.abs(x);
    if (a < 1) { const s = Math.sinh(a); return 0.5 * Math.log1p(s * s); }
    return a - Math.LN2 + Math.log1p(Math.exp(-2 * a));
  };
  /* x - tanh x without the difference: for small x the continued fraction tanh x = x/(1 + x^2/(3 + x^2/(5 + ...)))
     gives x - tanh x = x q/(1 + q) with q = x^2/(3 + ...). */
  const tanhshrink = x => {
    if (Math.abs(x) >= 1) return x - Math.tanh(x);
    let tail = 0;
    for (let k = 25; k >= 3; k -= 2) tail = x * x / (k + tail);
    return x * tail / (1 + tail);
  };

  /* erf by the series with positive terms, exp(-x^2) sum 2^n x^(2n+1)/(1 3 5 ...); beyond 2.5 erfc by its
     continued fraction, evaluated from below. */
  const erfSeries = x => {
    let term = x, sum = x;
    for (let n = 1; n < 120; n++) {
      term *= 2 * x * x / (2 * n + 1);
      sum += term;
      if (term < 1e-17 * sum) break;
    }
    return TWO_OVER_ROOT_PI * Math.exp(-x * x) * sum;
  };
  const erfcTail = x => {
    if (x > 28) return 0;
    let tail = 0;
    for (let k = 60; k >= 1; k--) tail = (k / 2) / (x + tail);
    return Math.exp(-x * x) / ((x + tail) * Math.sqrt(Math.PI));
  };
  const erf = x => {
    if (x !== x) return x;
    const a = Math.abs(x), v = a < 2.5 ? erfSeries(a) : 1 - erfcTail(a);
    return x < 0 ? -v : v;
  };
  const erfc = x => x !== x ? x : x > 2.5 ? erfcTail(x) : 1 - erf(x);
  const Phi = x => 0.5 * erfc(-x * HALF_ROOT);
  const phi = x => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);

  const softsign = x => x / (1 + Math.abs(x));
  const hypot1 = x => Math.hypot(x, 1);
  const hypotm1 = x => x * (x / (hypot1(x) + 1));
  const isru = x => x / hypot1(x);
  const sqp = x => { const half = 0.5 * hypot1(x) + 0.5 * Math.abs(x); return x < 0 ? 0.5 / half : half + half; };
  const sqp1 = x => sqp(x) / hypot1(x);

  /* The n-th derivative of sin(x)/x: its Taylor series near 0, then x s_n + n s_(n-1) = sin^(n)(x). */
  const sinc = (x, n) => {
    if (Math.abs(x) < 2 + n) {
      let sum = 0;
      for (let k = Math.ceil(n / 2); k < Math.ceil(n / 2) + 22 + 2 * n; k++) {
        let c = (k % 2 ? -1 : 1) / (2 * k + 1);
        for (let j = 1; j <= 2 * k - n; j++) c *= x / j;
        sum += c;
      }
      return sum;
    }
    const turns = [Math.sin(x), Math.cos(x), -Math.sin(x), -Math.cos(x)];
    let v = turns[0] / x;
    for (let k = 1; k <= n; k++) v = (turns[k % 4] - k * v) / x;
    return v;
  };

  return { mul, pow, xlogy, round, sigmoid, softplus, sech2, logcosh, tanhshrink, erf, erfc, Phi, phi, softsign,
    hypot1, hypotm1, isru, sqp, sqp1, sinc };
})();
