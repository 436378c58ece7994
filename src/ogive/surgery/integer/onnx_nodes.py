"""A table in ONNX: QuantizeLinear, Gather, DequantizeLinear; and whole chains of layers around tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, OgiveError

if TYPE_CHECKING:
    from ogive.surgery.integer.table import TableAct

OPSET = 18


def symbolic(table: TableAct, x: Tensor) -> Tensor:
    """The nodes of a table for ``torch.onnx.export(..., dynamo=True)``."""
    _needs_bytes(table)
    node = torch.onnx.ops.symbolic
    into, out = table.into, table.out
    q = node("QuantizeLinear", (x, _scale(into.scale, x), _byte(into.zero - into.low, x)), dtype=torch.uint8,
             shape=x.shape, version=OPSET)  # fmt: skip
    at = node("Cast", (q,), {"to": 6}, dtype=torch.int32, shape=x.shape, version=OPSET)
    level = node("Gather", (table.levels, at), {"axis": 0}, dtype=torch.int8, shape=x.shape, version=OPSET)
    zero = torch.tensor(out.zero, dtype=torch.int8, device=x.device)
    return node("DequantizeLinear", (level, _scale(out.scale, x), zero), dtype=x.dtype, shape=x.shape, version=OPSET)


def _scale(value: float, x: Tensor) -> Tensor:
    return torch.tensor(value, dtype=x.dtype, device=x.device)


def _byte(value: int, x: Tensor) -> Tensor:
    return torch.tensor(value, dtype=torch.uint8, device=x.device)


def _needs_bytes(table: TableAct) -> None:
    """The first quantisation is to uint8, whose value is the index itself: 256 entries exactly."""
    if table.levels.numel() != 256:
        raise OgiveError(f"{table.entry.label}: a table of {table.levels.numel()} entries; ONNX's QuantizeLinear "
                         "here writes tables of 256 (bits=8)")  # fmt: skip


def to_onnx(model: nn.Module, path: str | None = None, *, rank: int = 0) -> Any:
    """The ONNX model (opset 18) of a table, or of a chain of Linear, convolution, flattening and tables.

    Every table becomes QuantizeLinear to uint8, whose value is the index, Gather from 256 int8 entries, and
    DequantizeLinear; ties are rounded to even on both sides, so that results agree to the last bit but where a
    Linear in front sums in another order. ONNX Runtime, given a Linear between two tables, also rounds its weights to
    8 bits; where that is not wanted, its session option ``session.disable_quant_qdq`` is "1". For other
    models ``torch.onnx.export(model, args, dynamo=True)`` writes the same nodes (it needs onnxscript).

    Args:
        model: a ``TableAct``, or an ``nn.Sequential`` of Linear, Conv2d, Flatten, Identity, ReLU, ``TableAct`` and
            such chains. Input float32 of any batch size.
        path: where to write it too.
        rank: dimensions of the input; by default those the first layer takes, 2 or 4, or 1 for a table alone.

    Raises:
        OgiveError: without the package onnx (``pip install onnx``).
        InputError: for another module in the chain.

    Source: ONNX operators QuantizeLinear, Gather, DequantizeLinear (https://onnx.ai/onnx/operators/).
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as missing:
        raise OgiveError("to_onnx needs the package onnx: pip install onnx onnxruntime") from missing
    nodes: list[Any] = []
    constants: list[Any] = []

    def keep(value: Tensor) -> str:
        name = f"c{len(constants)}"
        constants.append(numpy_helper.from_array(value.detach().cpu().contiguous().numpy(), name))
        return name

    def put(op: str, inputs: list[str], **options: Any) -> str:
        name = f"t{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [name], **options))
        return name

    rank = rank or _input_rank(model)
    value = "x"
    for module in _flat(model):
        value = _layer(module, value, keep, put)
    if value == "x":
        value = put("Identity", [value])
    nodes[-1].output[0] = "y"
    ranks = rank, 2 if any(isinstance(m, nn.Flatten) for m in _flat(model)) else rank
    sides = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * r) for name, r in zip(("x", "y"), ranks)
    ]
    graph = helper.make_graph(nodes, "ogive", sides[:1], sides[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(made)
    if path is not None:
        onnx.save(made, path)
    return made


def _flat(model: nn.Module) -> list[nn.Module]:
    if isinstance(model, nn.Sequential):
        return [leaf for child in model for leaf in _flat(child)]
    return [model]


def _input_rank(model: nn.Module) -> int:
    first = next((m for m in _flat(model) if isinstance(m, (nn.Linear, nn.Conv2d))), None)
    return 4 if isinstance(first, nn.Conv2d) else 2 if isinstance(first, nn.Linear) else 1


def _layer(module: nn.Module, x: str, keep: Any, put: Any) -> str:
    from ogive.surgery.integer.table import TableAct

    if isinstance(module, TableAct):
        _needs_bytes(module)
        into, out = module.into, module.out
        q = put("QuantizeLinear", [x, keep(torch.tensor(into.scale)), keep(torch.tensor(into.zero - into.low).byte())])
        at = put("Cast", [q], to=6)
        level = put("Gather", [keep(module.levels), at], axis=0)
        zero = torch.tensor(out.zero, dtype=torch.int8)
        return str(put("DequantizeLinear", [level, keep(torch.tensor(out.scale)), keep(zero)]))
    if isinstance(module, nn.Linear):
        made = put("MatMul", [x, keep(module.weight.T)])
        return str(made if module.bias is None else put("Add", [made, keep(module.bias)]))
    if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and not isinstance(module.padding, str):
        weights = [keep(module.weight)] + ([] if module.bias is None else [keep(module.bias)])
        pads = [*module.padding, *module.padding]
        return str(put("Conv", [x, *weights], strides=list(module.stride), pads=pads, group=module.groups,
                       dilations=list(module.dilation)))  # fmt: skip
    if isinstance(module, nn.Flatten) and module.start_dim == 1 and module.end_dim == -1:
        return str(put("Flatten", [x], axis=1))
    if isinstance(module, nn.ReLU):
        return str(put("Relu", [x]))
    if isinstance(module, nn.Identity):
        return x
    raise InputError(f"to_onnx of {module}: it writes Linear, Conv2d, Flatten, ReLU, Identity and tables; for other "
                     "models torch.onnx.export(model, args, dynamo=True)")  # fmt: skip
