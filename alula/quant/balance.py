"""Channels of unequal size share a scale badly: some of their size moves into the weights that follow.

    y = W x = (W s) (x / s), s a positive factor for each channel of x

Bytes of x / s are off by a variance of d**2 / 12, d the step of all channels together, and bytes of W s by
e[o]**2 / 12, e[o] the step of feature o.  What y is off by, of its own variance, is then about

    sum over c of s[c]**2 |W[:,c]|**2 d**2 / 12  +  sum over o, c of e[o]**2 / 12 var x[c] / s[c]**2

and s[c] = max |x[c]| ** a with the a of the least error is taken.  That is SmoothQuant without its weights' part (Xiao
et al., arXiv 2211.10438, equation 4), which made it worse wherever it was measured.  The second sum has a term for each
place of a convolution's kernel; depthwise ones keep float weights, so theirs is only the first.

A LayerNorm divides by other gamma and beta; after other functions, whose kernel is about to round, it is one more
product.  After a ReLU that is cross-layer equalisation (Nagel et al., arXiv 1906.04721, section 4.1), but for the
features of the layer before, which stay what they were: what measures that layer compares like with like.
"""

from __future__ import annotations

import numpy as np

from alula.ir.graph import Graph, Node, Value
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Add, Clip, Gelu, HardSwish, Mul, Relu, Silu
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from alula.ops.quantize import LARGEST_BYTE, STEPS
from alula.ops.shape import Reshape, Slice, Transpose
from alula.passes.affine import Affine, prescaled, rescaled
from alula.quant.histogram import Floats
from alula.quant.observed import Observed

BENT = (Gelu, Silu, HardSwish)
AFTER = (LayerNorm, *BENT, Relu, Clip, Add)  # whose results can be balanced
EXPONENTS = np.linspace(0, 0.5, 11)
OF_RANGES = np.linspace(0, 0.25, 6)  # of what no norm bounds: channels that calibration saw small keep room to grow
LEAST = 2.0**-5  # of the largest channel: smaller ones are taken to be as large
WORTH = 0.85  # of the error without factors: what is hardly better is not worth the room that it takes


def balanced(graph: Graph, value: Value, seen: Observed) -> Floats | None:
    """Factors f64[c] to divide a value by before it becomes bytes; None where nothing is gained or it cannot be."""
    node, products = value.producer, products_of(graph, value)
    if node is None or not products or not isinstance(node.op, AFTER):
        return None
    told = (*products, node) if isinstance(node.op, LayerNorm) else products
    if not all(other.is_constant for one in told for other in one.inputs[1:]):
        return None
    reach = np.maximum(-seen.low, seen.high)
    if not reach.max(initial=0) > 0:
        return None
    reach = np.maximum(reach, LEAST * reach.max())
    tried = [reach**a for a in _exponents(node, products)]
    errors = [sum(predicted_error(product, s, seen) for product in products) for s in tried]
    best = int(np.argmin(errors))
    if not errors[best] < WORTH * errors[0]:  # the first factors are 1
        return None
    factors: Floats = tried[best] / np.exp(np.log(tried[best]).mean())
    return factors


def balance(graph: Graph, value: Value, factors: Floats) -> dict[Value, Value]:
    """The value divided and its products' weights multiplied, in place; which values stand for which ones now."""
    node, products = value.producer, products_of(graph, value)
    assert node is not None
    assert products is not None
    inverse = graph.constant((1 / factors).astype(np.float32))
    with graph.before(node):
        if isinstance(node.op, LayerNorm):
            divided = rescaled(graph, node, Affine(1 / factors, None))
        elif isinstance(node.op, Relu):  # next to bytes, whose least one can be its 0
            divided = graph.add(node.op, graph.add(Mul(), *node.inputs, inverse))
        else:
            divided = graph.add(Mul(), graph.add(node.op, *node.inputs), inverse)
    assert divided is not None, "gamma and beta are constant"
    graph.replace(value, divided)
    moved = {value: divided}
    for product in products:
        with graph.before(product):
            new = prescaled(graph, product, product.inputs[0], Affine(factors, None))
        assert new is not None, "weight and bias are constant"
        graph.replace(product.output, new)
        moved[product.output] = new
        graph.remove(product)
    return moved


def products_of(graph: Graph, value: Value) -> list[Node] | None:
    """The linear layers and convolutions, or the depthwise convolutions, that take a value, each channel as it is.

    None where anything else takes it as well, or both do.
    """
    found = _taking(graph, value)
    return found if found and len({isinstance(node.op, DepthwiseConv2d) for node in found}) == 1 else None


def _taking(graph: Graph, value: Value) -> list[Node] | None:
    found: list[Node] = []
    if any(value is output for _, output in graph.outputs):
        return None
    for user in dict.fromkeys(value.uses):
        if _is_product(user) and user.inputs[0] is value and user.inputs.count(value) == 1:
            found.append(user)
            continue
        inner = _taking(graph, user.output) if _keeps_channels(user) else None
        if inner is None:
            return None
        found += inner
    return found


def _is_product(node: Node) -> bool:
    """True for what can take factors, and whose every feature sees all channels or one."""
    match node.op:
        case Linear() | DepthwiseConv2d():
            return True
        case Conv2d(groups=1, scale=()):
            return True
    return False


def _exponents(node: Node, products: list[Node]) -> Floats:
    """Those to try after a node."""
    if isinstance(products[0].op, DepthwiseConv2d):
        return OF_RANGES if isinstance(node.op, BENT) else EXPONENTS
    return EXPONENTS if isinstance(node.op, LayerNorm) else OF_RANGES


def energy(product: Node) -> Floats:
    """The sum of the squares of all weights that a product has for each channel, f64[c]."""
    weight = np.asarray(product.inputs[1].data, np.float64)
    energies: Floats = np.square(weight).reshape(-1, weight.shape[-1]).sum(axis=0)
    return energies


def predicted_error(product: Node, s: Floats, seen: Observed) -> float:
    """What a product is off by, of its own variance, with the channels of x divided by s."""
    weight, variance = np.asarray(product.inputs[1].data, np.float64), seen.variance
    low, high = min(0.0, float((seen.low / s).min())), max(0.0, float((seen.high / s).max()))
    energies = energy(product)
    off = float(s**2 @ energies) * ((high - low) / LARGEST_BYTE) ** 2 / 12
    if not isinstance(product.op, DepthwiseConv2d):
        features = (np.abs(weight) * s).reshape(len(weight), -1)
        steps, places = features.max(axis=1) / STEPS, features.shape[1] // len(s)
        off += float(np.square(steps).sum()) * places / 12 * float((variance / s**2).sum())
    return off / max(float(energies @ variance), np.finfo(float).tiny)


def _keeps_channels(node: Node) -> bool:
    """True for a view whose last axis is that of what it is a view of."""
    match node.op:
        case Transpose(perm=perm):
            return perm[-1:] == (len(perm) - 1,)
        case Reshape():
            return node.inputs[0].type.shape[-1:] == node.output.type.shape[-1:]
        case Slice(axis=axis):
            return axis != node.output.type.rank - 1
    return False
