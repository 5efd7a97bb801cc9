from alula.ops.elementwise import Relu
from alula.ops.shape import Concat
from alula.passes.share_concats import ShareConcats
from tests.passes.graphs import Builder, N, changed, counts


def test_a_dense_block() -> None:
    b = Builder(*[(N, 4, n) for n in (2, 3, 4, 5)])
    relus = [b(Relu(), b(Concat(2), *b.inputs[:n])) for n in (2, 3, 4)]
    graph = b.finish(*relus)
    assert changed(graph, ShareConcats()) == 3  # the last one twice
    concats = [node for node in graph.nodes if isinstance(node.op, Concat)]
    assert [len(node.inputs) for node in concats] == [2, 2, 2]
    assert [node.inputs[0].producer for node in concats[1:]] == concats[:2]


def test_others_stay() -> None:
    b = Builder(*[(N, 4, 4)] * 3)
    x, y, z = b.inputs
    parts = [b(Concat(2), y, x), b(Concat(1), x, y), b(Concat(2), x, z), b(Concat(2), x, y, z), b(Concat(2), x, y)]
    graph = b.finish(*(b(Relu(), part) for part in parts))
    assert changed(graph, ShareConcats()) == 0
    assert counts(graph) == {"concat": 5, "relu": 5}
