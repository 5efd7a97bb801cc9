"""Names of a program's outputs."""

from __future__ import annotations

from torch.export import ExportedProgram
from torch.utils import _pytree as pytree


def output_names(program: ExportedProgram) -> list[str]:
    """One for each leaf of what the module returns: keys of dicts, `output` and numbers elsewhere, joined by `_`.

    `{"logits": ..., "maps": (..., ...)}` gives logits, maps_0, maps_1; a tuple gives output_0, output_1.
    """
    spec = program.call_spec.out_spec
    if spec is None:
        return []
    paths, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(range(spec.num_leaves), spec))
    return [_name(path) for path, _ in paths]


def _name(path: tuple[object, ...]) -> str:
    parts = [str(_part(key)) for key in path]
    return "_".join(parts if path and not isinstance(path[0], pytree.SequenceKey) else ["output", *parts])


def _part(key: object) -> object:
    match key:
        case pytree.SequenceKey(idx=index):
            return index
        case pytree.MappingKey(key=name):
            return name
        case pytree.GetAttrKey(name=name):
            return name
    return key
