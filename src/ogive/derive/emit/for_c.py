"""C99, with math.h and nothing else."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from ogive.derive.emit.printer import Language
from ogive.derive.emit.request import Draft, Request, draft

_KEYWORDS = """auto break case char const continue default do double else enum extern float for goto if inline int long
register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while _Bool
_Complex _Imaginary main errno assert near far asm typeof bool true false class new delete this template namespace
public private protected operator catch throw try using virtual friend export typename mutable explicit and or not xor
int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t NULL INFINITY NAN HUGE_VAL I complex"""
_MATH = """acos asin atan atan2 cos sin tan acosh asinh atanh cosh sinh tanh exp exp2 expm1 frexp ilogb ldexp log log10
log1p log2 logb modf scalbn scalbln cbrt fabs hypot pow sqrt erf erfc lgamma tgamma ceil floor nearbyint rint lrint
llrint round lround llround trunc fmod remainder remquo copysign nan nextafter nexttoward fdim fmax fmin fma j0 j1 jn
y0 y1 yn gamma signgam exp10 pow10 drem significand scalb finite sincos isnan isinf isfinite isnormal signbit
abs labs div exit malloc free rand printf puts index log2p1 roundeven"""
MATH_NAMES = frozenset(f"{n}{s}" for n in _MATH.split() for s in ("", "f", "l"))
RESERVED = frozenset(_KEYWORDS.split()) | MATH_NAMES

_CALLS = ("sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh", "erf",
          "erfc", "floor")  # fmt: skip


def _double(value: float) -> str:
    if math.isnan(value):
        return "(double)NAN"
    if math.isinf(value):  # INFINITY is a float, and -Wdouble-promotion says so
        return "HUGE_VAL" if value > 0 else "-HUGE_VAL"
    return repr(value)


def single_number(value: float) -> float:
    """``value`` as float32 has it.

    >>> single_number(0.1), single_number(1e300)
    (0.10000000149011612, inf)
    """
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def shortest_single(value: float) -> str:
    """The shortest decimal that a reader of float32 takes for ``value`` rounded.

    >>> shortest_single(0.1), shortest_single(2.0 / 3.0)
    ('0.1', '0.6666667')
    """
    rounded = single_number(value)
    for digits in range(1, 10):
        text = repr(float(f"{rounded:.{digits}g}"))
        if single_number(float(text)) == rounded:
            return text
    return repr(rounded)


def _float(value: float) -> str:
    rounded = single_number(value)
    if math.isfinite(rounded):
        return f"{shortest_single(value)}f"
    return "NAN" if math.isnan(rounded) else "INFINITY" if rounded > 0 else "-INFINITY"


def _function(kind: str) -> object:
    def write(name: str, args: Sequence[str], lines: Sequence[str], value: str) -> list[str]:
        head = f"static {kind} {name}({', '.join(f'{kind} {a}' for a in args)}) {{"
        return [head, *(f"    {line}" for line in lines), f"    return {value};", "}"]

    return write


def _language(single: bool) -> Language:
    kind, s = ("float", "f") if single else ("double", "")
    calls = {n: f"{n}{s}({{0}})" for n in _CALLS}
    calls |= {"pow": f"pow{s}({{0}}, {{1}})", "abs": f"fabs{s}({{0}})", "round": f"rint{s}({{0}})",
              "hypot1": f"hypot{s}({{0}}, 1.0{s})", "isnan": "isnan({0})", "isinf": "isinf({0})"}  # fmt: skip
    return Language("C", "// ", RESERVED, _float if single else _double, calls, _function(kind),  # type: ignore[arg-type]
                    let=f"const {kind} {{0}} = {{1}};", let_flag="const int {0} = {1};",
                    as_number=f"({kind})({{0}})", choice=True)  # fmt: skip


DOUBLE, SINGLE = _language(False), _language(True)


def write(request: Request) -> str:
    """``name`` in double and ``namef``, which rounds it once to float; or ``name`` in float throughout."""
    language = SINGLE if request.single else DOUBLE
    d = draft(request, language)
    kind = "float" if request.single else "double"
    arithmetic = ("Arithmetic in float throughout." if request.single else
                  f"{d.name} computes in double; {d.name}f computes in double and rounds once.")  # fmt: skip
    lines = [f"// {line}" for line in request.heading(arithmetic)]
    lines += ["#include <math.h>", ""]
    for helper in d.helpers:
        lines += [*helper, ""]
    args = [*d.inputs, *d.params]
    lines.append(f"{kind} {d.name}({', '.join(f'{kind} {a}' for a in args)}) {{")
    lines += [f"    (void){a};" for a in d.unused]
    lines += [*(f"    {line}" for line in d.lines), f"    return {d.value};", "}"]
    if not request.single:
        lines += ["", *_rounded(d, args)]
    return "\n".join([*lines, ""])


def _rounded(d: Draft, args: list[str]) -> list[str]:
    head = f"float {d.name}f({', '.join(f'float {a}' for a in args)}) {{"
    return [head, f"    return (float){d.name}({', '.join(args)});", "}"]
