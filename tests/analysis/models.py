"""A small trained-looking classifier as an exported program, pictures for it, and faults planted in its model file."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import alula
from alula.analysis.anchors import result
from alula.artifact.model import ModelMeta
from alula.artifact.reader import read_model
from alula.artifact.writer import write_model
from alula.codegen.packing import pack_weights, plain_form
from alula.core.dtype import Array
from alula.core.preprocess import Preprocess
from alula.core.target import target_named
from alula.frontends.torch.export import export_program, save_program
from alula.frontends.torch.load import PREPROCESS_FILE
from alula.ir.graph import Graph, Node
from alula.ops.elementwise import Mul
from alula.quant.products import labelled_products
from tests.vision.pictures import noise, save

SIDE = 16
CONTRACT = Preprocess(crop=SIDE, resize=SIDE)


class Block(nn.Module):
    """LayerNorm, a perceptron, and a shortcut around both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.fc1, self.fc2 = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(nn.functional.gelu(self.fc1(self.norm(x))))


class Small(nn.Module):
    """x[n,3,16,16] -> [n,10]: convolutions with batch norms, then blocks over the places."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(16, 32, 2, stride=2), nn.BatchNorm2d(32), nn.ReLU())
        self.blocks = nn.Sequential(Block(32), Block(32))
        self.head = nn.Linear(32, 10)
        for norm in (self.stem[1], self.down[1]):
            nn.init.uniform_(norm.running_mean, -0.3, 0.3)
            nn.init.uniform_(norm.running_var, 0.3, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        places = self.down(self.stem(x)).flatten(2).transpose(1, 2)
        return self.head(self.blocks(places).mean(1))


def write_source(path: Path) -> Path:
    """The program, with its preprocessing contract."""
    program = export_program(Small(), (torch.zeros(2, 3, SIDE, SIDE),))
    save_program(program, path, {PREPROCESS_FILE: json.dumps(CONTRACT.to_json())})
    return path


def write_pictures(folder: Path, count: int, seed: int = 0) -> Path:
    for number in range(count):
        save(folder / f"{number:03}.png", noise(SIDE, SIDE, seed + number))
    return folder


def pictures(count: int, seed: int = 0) -> Array:
    """u8[count,16,16,3]: the pictures of `write_pictures`."""
    return np.stack([noise(SIDE, SIDE, seed + number) for number in range(count)])


def write_model_file(path: Path, source: Path, precision: str) -> Path:
    graph = alula.from_torch(source)
    config = alula.BuildConfig(precision=precision, preprocess=graph.preprocess)
    alula.build(graph, config, [pictures(16)] if precision.startswith("qint8") else None).save(path)
    return path


def read(path: Path) -> tuple[Graph, ModelMeta]:
    with read_model(path) as file:
        return file.graph(), file.meta


def zero_largest_channel(path: Path, label: str, damaged: Path) -> Path:
    """The same file, but for the largest channel of the weight of a product of bytes: zeros."""
    graph, meta = read(path)
    node = labelled_products(graph)[label]
    weight = node.inputs[1]
    op, plain = plain_form(node.op, weight.data)
    sizes = np.linalg.norm(plain.reshape(len(plain), -1).astype(np.float64), axis=1) * steps(graph, node)
    changed = plain.copy()
    changed[int(sizes.argmax())] = 0
    put(graph, node, op, node.inputs[0], graph.constant(changed, weight.name), *node.inputs[2:])
    pack_weights(graph, target_named(meta.target))
    write_model(damaged, graph, meta)
    return damaged


def shrink_scale(path: Path, label: str, damaged: Path) -> Path:
    """The same file, but for the scales of a product's weight: 8 times too small."""
    graph, meta = read(path)
    scaling = _scaling(graph, labelled_products(graph)[label])
    small = graph.constant((scaling.inputs[1].data / 8).astype(np.float32))
    put(graph, scaling, scaling.op, scaling.inputs[0], small)
    write_model(damaged, graph, meta)
    return damaged


def steps(graph: Graph, node: Node) -> Array:
    return _scaling(graph, node).inputs[1].data.astype(np.float64)


def _scaling(graph: Graph, node: Node) -> Node:
    """The multiplication by a product's scales."""
    end = result(graph, node).producer
    between = graph.nodes[graph.nodes.index(node) : graph.nodes.index(end) + 1]
    return next(one for one in between if isinstance(one.op, Mul) and one.inputs[1].is_constant)


def put(graph: Graph, node: Node, op: object, *inputs: object) -> None:
    with graph.before(node):
        new = graph.add(op, *inputs)
    graph.replace(node.output, new)
    graph.remove(node)
