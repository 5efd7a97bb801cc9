"""Functions that a graph still calls, in the place of the calls."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
from tensorflow.python.grappler import tf_optimizer

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
KEPT_APART = ("_XlaMustCompile", "_noinline")  # marks of functions that TensorFlow does not write out


def inlined(graph: GraphDef, inputs: list[str], outputs: list[str]) -> GraphDef:
    """The graph with the bodies of the functions that it still calls in the place of the calls."""
    if not any(node.op in CALLS for node in graph.node):
        return graph
    for body in (graph, *(function for function in graph.library.function)):
        for node in body.node if body is graph else body.node_def:
            for mark in KEPT_APART:
                node.attr.pop(mark, None)
    for function in graph.library.function:
        for mark in KEPT_APART:
            function.attr.pop(mark, None)
    with tf.Graph().as_default():
        meta = tf.compat.v1.train.export_meta_graph(graph_def=graph, clear_devices=True)
    meta.collection_def["train_op"].node_list.value.extend([*inputs, *outputs])
    config = config_pb2.ConfigProto()
    options = config.graph_options.rewrite_options
    options.optimizers[:] = ["function"]
    options.function_optimization = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    options.min_graph_nodes = -1
    return tf_optimizer.OptimizeGraph(config, meta)
