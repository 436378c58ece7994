"""Which number a double is meant to be: 0.7978845608028654 is sqrt(2/pi), 0.25 is 1/4, 1.702 is 1.702."""

from __future__ import annotations

import math
from bisect import bisect_left
from fractions import Fraction
from functools import lru_cache

# A recognised constant agrees to 1e-15, the rounding of a few operations. There are about 4500 candidates
# over four decades, so a random double is mistaken for one of them with a chance below 1e-11.
TOLERANCE = 1e-15
SHORT = 7  # significant digits a reader takes in; beyond them a number is recognised or rounded to six


def _digits(text: str) -> int:
    return len(text.split("e")[0].replace(".", "").replace("-", "").strip("0")) or 1


def decimal(value: float, digits: int = 6) -> tuple[str, int]:
    """``value`` in decimals as (mantissa, power of ten), without the noise of the last bits.

    >>> decimal(0.1 + 0.2), decimal(1.0507009873554805), decimal(4.5e-9)
    (('0.3', 0), ('1.0507', 0), ('4.5', -9))
    """
    clean = f"{value:.12g}"
    if _digits(clean) > SHORT:
        clean = f"{value:.{digits}g}"
    number = float(clean)
    if number and not 1e-4 <= abs(number) < 1e6:
        mantissa, exponent = f"{number:.{digits}e}".split("e")
        return mantissa.rstrip("0").rstrip("."), int(exponent)
    return f"{number:.12g}", 0


def _root(square: int, pi_power: int, p: int, q: int) -> tuple[str, str]:
    """p/q * sqrt(square) * pi^(pi_power/2) as (numerator, denominator), radicals joined where shorter."""
    head = "" if p == 1 else f"{p} "
    tail = "" if q == 1 else f"{q} "
    odd, whole = pi_power % 2, pi_power // 2
    if pi_power == -1 and q % square:
        return f"{head}\\sqrt{{\\frac{{{square}}}{{\\pi}}}}", tail
    if q % square == 0 and square > 1:  # sqrt(2)/2 is written 1/sqrt(2)
        q //= square
        tail = "" if q == 1 else f"{q} "
        under = f"{square} \\pi" if pi_power == -1 else str(square)
        over = {2: "\\pi", 1: "\\sqrt{\\pi}", 0: "", -1: "", -2: ""}[pi_power]
        return head + over, f"{tail}\\sqrt{{{under}}}" + (" \\pi" if pi_power == -2 else "")
    if pi_power == -1:
        return head.strip(), f"{tail}\\sqrt{{\\pi}}"
    radicand = " ".join(([str(square)] if square > 1 else []) + (["\\pi"] if odd else []))
    radical = f"\\sqrt{{{radicand}}}" if radicand else ""
    over = " ".join(filter(None, [radical, "\\pi" if whole == 1 else ""]))
    return head + over, tail + ("\\pi" if whole == -1 else "")


@lru_cache(maxsize=1)
def _candidates() -> tuple[tuple[float, ...], tuple[tuple[str, str], ...]]:
    table: dict[float, tuple[str, str]] = {}
    small = [(p, q) for p in range(1, 13) for q in range(1, 13) if math.gcd(p, q) == 1]
    for p, q in small:
        for text, v in (("\\log 2", math.log(2)), ("e", math.e)):
            table.setdefault(p / q * v, ((f"{p} " if p > 1 else "") + text, f"{q}" if q > 1 else ""))
            table.setdefault(p / q / v, (f"{p}" if p > 1 else "", (f"{q} " if q > 1 else "") + text))
        for square in (1, 2, 3, 5, 6):
            for k in (-2, -1, 0, 1, 2):
                if (square, k) != (1, 0):
                    table.setdefault(p / q * math.sqrt(square) * math.pi ** (k / 2), _root(square, k, p, q))
    values = sorted(table)
    return tuple(values), tuple(table[v] for v in values)


def _named(value: float) -> tuple[str, str] | None:
    values, texts = _candidates()
    at = bisect_left(values, value)
    for i in (at - 1, at):
        if 0 <= i < len(values) and abs(values[i] - value) <= TOLERANCE * value:
            return texts[i][0].strip(), texts[i][1].strip()
    return None


def closed_form(value: float) -> tuple[str, str]:
    """A positive number as (numerator, denominator) in LaTeX, an empty string for 1.

    Integers, decimals of at most seven digits, halves to eighths, other fractions with a denominator up to
    64, and small multiples of square roots, powers of pi, e and log 2 come out as such; any other number
    is rounded to six digits.

    >>> closed_form(0.25), closed_form(2 / math.pi), closed_form(math.sqrt(0.5)), closed_form(0.044715)
    (('', '4'), ('2', '\\\\pi'), ('', '\\\\sqrt{2}'), ('0.044715', ''))
    """
    ratio = Fraction(value).limit_denominator(64)
    p, q = ratio.numerator, ratio.denominator
    rational = p > 0 and abs(p / q - value) <= TOLERANCE * value
    if rational and q in (2, 4, 8) and p < q:
        return "" if p == 1 else str(p), str(q)
    if _digits(f"{value:.12g}") > SHORT:
        if rational:
            return "" if p == 1 else str(p), "" if q == 1 else str(q)
        named = _named(value)
        if named is not None:
            return named
    mantissa, exponent = decimal(value)
    if exponent:
        power = f"10^{{{exponent}}}"
        return (power if mantissa == "1" else f"{mantissa} \\cdot {power}"), ""
    return "" if mantissa == "1" else mantissa, ""


def recognised(value: float) -> bool:
    """Whether :func:`closed_form` shows all of ``value``, not a rounding of it."""
    if value == 0.0:
        return True
    ratio = Fraction(value).limit_denominator(64)
    exact = abs(float(ratio) - value) <= TOLERANCE * value
    return exact or _digits(f"{value:.12g}") <= SHORT or _named(value) is not None
