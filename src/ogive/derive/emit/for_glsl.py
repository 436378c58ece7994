"""GLSL: a function of one float for any shader from version 3.30 or ES 3.00."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ogive.derive.emit.for_c import shortest_single, single_number
from ogive.derive.emit.printer import Language
from ogive.derive.emit.request import Request, draft

_WORDS = """
attribute const uniform varying buffer shared coherent volatile restrict readonly writeonly atomic_uint layout
centroid flat smooth noperspective patch sample break continue do for while switch case default if else
subroutine in out inout int void bool true false float double invariant precise discard return mat2 mat3 mat4
dmat2 dmat3 dmat4 vec2 vec3 vec4 ivec2 ivec3 ivec4 bvec2 bvec3 bvec4 dvec2 dvec3 dvec4 uint uvec2 uvec3 uvec4
lowp mediump highp precision sampler1D sampler2D sampler3D samplerCube image1D image2D image3D struct common
partition active asm class union enum typedef template this resource goto inline noinline public static extern
external interface long short half fixed unsigned superp input output hvec2 hvec3 hvec4 fvec2 fvec3 fvec4
sampler3DRect filter sizeof cast namespace using main radians degrees sin cos tan asin acos atan sinh cosh tanh
asinh acosh atanh pow exp log exp2 log2 sqrt inversesqrt abs sign floor trunc round roundEven ceil fract mod
modf min max clamp mix step smoothstep isnan isinf floatBitsToInt floatBitsToUint intBitsToFloat uintBitsToFloat
fma frexp ldexp length distance dot cross normalize ftransform faceforward reflect refract matrixCompMult
outerProduct transpose determinant inverse lessThan greaterThan equal notEqual any all not texture texelFetch
dFdx dFdy fwidth noise1 noise2 noise3 noise4 barrier packUnorm2x16 emit
"""
RESERVED = frozenset(_WORDS.split())


def _number(value: float) -> str:
    rounded = single_number(value)
    if math.isfinite(rounded):
        return shortest_single(value)
    bits = "0x7FC00000u" if math.isnan(rounded) else "0x7F800000u" if rounded > 0 else "0xFF800000u"
    return f"uintBitsToFloat({bits})"


def _function(name: str, args: Sequence[str], lines: Sequence[str], value: str) -> list[str]:
    head = f"float {name}({', '.join(f'float {a}' for a in args)}) {{"
    return [head, *(f"    {line}" for line in lines), f"    return {value};", "}"]


# tanh, sinh, cosh and the larger of two are printed: the standard leaves their accuracy, or NaN, open
_ONE = ("abs", "floor", "sqrt", "exp", "log", "sin", "cos", "tan", "atan", "isnan", "isinf")
_CALLS = {**{n: f"{n}({{0}})" for n in _ONE}, "round": "roundEven({0})", "power_of_positive": "pow({0}, {1})"}
GLSL = Language("GLSL", "// ", RESERVED, _number, _CALLS, _function, let="float {0} = {1};",
                let_flag="bool {0} = {1};", choice=True, longest_power=64)  # fmt: skip


def write(request: Request) -> str:
    """Functions of float; parameters are arguments, since GLSL has no defaults."""
    d = draft(request, GLSL)
    note = "Arithmetic in float; how exactly exp, log, sin and cos are computed is the driver's choice."
    lines = [f"// {line}" for line in request.heading(note)]
    for helper in d.helpers:
        lines += [*helper, ""]
    return "\n".join([*lines, *_function(d.name, [*d.inputs, *d.params], d.lines, d.value), ""])
