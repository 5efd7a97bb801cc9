"""The registry of importers and what it promises."""

import inspect
import subprocess
import sys

import pytest

from alula.core.errors import GraphError
from alula.frontends.torch import decompose
from alula.frontends.torch.call import IMPORTS, axes_of, axis_of, imports, pair


def test_an_operator_has_one_importer() -> None:
    with pytest.raises(GraphError, match=r"importer of aten\.relu\.default: expected one, got a second"):
        imports("aten.relu.default")(lambda call, x: x)


def test_every_importer_is_of_an_operator_that_pytorch_has() -> None:
    import torch

    missing = []
    for name in IMPORTS:
        library, operator, overload = name.split(".")
        packet = getattr(getattr(torch.ops, library), operator, None)
        if packet is None or overload not in packet.overloads():
            missing.append(name)
    assert missing == []


def test_importers_name_arguments_as_pytorch_orders_them() -> None:
    """As many as the operator's schema has, or a list that takes the rest."""
    import torch

    short = []
    for name, importer in IMPORTS.items():
        _, operator, overload = name.split(".")
        schema = getattr(getattr(torch.ops.aten, operator), overload)._schema
        wanted = [argument for argument in schema.arguments if not argument.kwarg_only]
        kinds = [parameter.kind for parameter in inspect.signature(importer).parameters.values()]
        if inspect.Parameter.VAR_POSITIONAL not in kinds and len(kinds) - 1 < len(wanted):
            short.append(f"{name}: {len(wanted)} arguments, {len(kinds) - 1} named")
    assert short == []


def test_families_are_registered_where_they_are_needed() -> None:
    assert decompose.aten_conv.__name__ == "alula.frontends.torch.aten_conv"


def test_axes() -> None:
    assert (axis_of(-1, 3), axis_of(0, 0)) == (2, 0)
    assert (axes_of(None, 3), axes_of([], 2), axes_of(-1, 3), axes_of((2, -3), 3)) == ((0, 1, 2), (0, 1), (2,), (0, 2))
    assert axes_of(0, 0) == ()


def test_pairs() -> None:
    assert (pair(3), pair([2]), pair((1, 4))) == ((3, 3), (2, 2), (1, 4))


def test_importing_the_package_does_not_load_torch() -> None:
    code = "import sys, alula.frontends.torch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
