import pytest
import torch
from torch import nn

from alula.frontends.torch import from_torch
from alula.ir.graph import Value
from alula.ops.elementwise import Relu
from alula.ops.norm import BatchNorm
from alula.ops.reference import run_reference
from alula.passes.fold_batch_norm import FoldBatchNorm
from alula.passes.pipeline import optimise
from tests.passes.graphs import Builder, N, changed, counts


def batch_norm(b: Builder, x: Value) -> Value:
    vectors = [b.constant(x.type.shape[-1], low=low) for low in (-1.0, -1.0, -1.0, 0.1)]
    return b(BatchNorm(1e-3), x, *vectors)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_after_a_convolution(bias: bool, groups: int) -> None:
    b = Builder((N, 6, 7, 4))
    graph = b.finish(batch_norm(b, b.conv(b.inputs[0], 8, 3, bias=bias, groups=groups, pad=(1, 1, 1, 1))))
    assert changed(graph, FoldBatchNorm()) == 1
    assert counts(graph) == {"conv2d": 1}


@pytest.mark.parametrize("bias", [True, False])
def test_after_and_before_a_linear_layer(bias: bool) -> None:
    b = Builder((N, 5))
    graph = b.finish(batch_norm(b, b.linear(batch_norm(b, b.inputs[0]), 6, bias=bias)))
    assert changed(graph, FoldBatchNorm()) == 2
    assert counts(graph) == {"linear": 1}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_before_a_convolution_without_padding(bias: bool, groups: int) -> None:
    b = Builder((N, 6, 7, 4))
    graph = b.finish(b.conv(batch_norm(b, b.inputs[0]), 6, 3, bias=bias, groups=groups, stride=(2, 1)))
    assert changed(graph, FoldBatchNorm()) == 1
    assert counts(graph) == {"conv2d": 1}


def test_before_a_padded_convolution_it_stays() -> None:
    b = Builder((N, 6, 7, 4))
    graph = b.finish(b.conv(batch_norm(b, b.inputs[0]), 6, 3, pad=(1, 0, 0, 0)))
    assert changed(graph, FoldBatchNorm()) == 0


def test_where_others_take_the_convolution_it_stays() -> None:
    b = Builder((N, 6, 7, 4))
    x = b.conv(b.inputs[0], 8, 3)
    graph = b.finish(batch_norm(b, x), b(Relu(), x))
    assert changed(graph, FoldBatchNorm()) == 0


def test_statistics_that_are_not_constant_stay() -> None:
    b = Builder((N, 6, 7, 4), (8,))
    x = b.conv(b.inputs[0], 8, 3)
    graph = b.finish(b(BatchNorm(1e-3), x, b.constant(8), b.inputs[1], b.constant(8), b.constant(8, low=0.1)))
    assert changed(graph, FoldBatchNorm()) == 0


def test_as_pytorch_computes_it() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4)]
    module = nn.Sequential(*layers, nn.BatchNorm2d(8), nn.ReLU()).eval()
    for norm in (module[1], module[4]):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.1, 2)
        nn.init.uniform_(norm.weight, -1, 1)
    x = torch.randn(2, 3, 9, 8)
    graph = optimise(from_torch(module, (x,)))
    assert counts(graph) == {"conv2d": 2, "relu": 2, "transpose": 2}  # the model's own order of axes, in and out
    (y,) = run_reference(graph, [x.numpy()])
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(y), module(x), rtol=1e-5, atol=1e-5)
