"""Code generation: from a final graph to one object file for one target."""
