"""The typed graph: ops, values, nodes; printer, parser, verifier."""
