"""Where nodes come from, as text."""

import pytest

from alula.frontends.torch.origin import module_path, origin_of, root_class

OWN = '  File "/srv/someone/models/volo.py", line 93, in forward\n    values = self.unfold(x)\n'
LIBRARY = '  File "/x/site-packages/torch/nn/modules/fold.py", line 324, in forward\n    return F.unfold(\n'
CALLER = '  File "/srv/someone/main.py", line 7, in <module>\n    main()\n'
STACK = {"L__self__": ("", "models.volo.Volo"), "L__self__network.0": ("network.0", "models.volo.Block")}


@pytest.mark.parametrize(
    ("meta", "text"),
    [
        ({"stack_trace": OWN + LIBRARY, "nn_module_stack": STACK}, "network.0 volo.py:93"),
        ({"stack_trace": CALLER + OWN, "nn_module_stack": STACK}, "network.0 volo.py:93"),
        ({"stack_trace": LIBRARY}, "fold.py:324"),
        ({"stack_trace": OWN.replace("/", "\\")}, "volo.py:93"),
        ({"stack_trace": CALLER, "nn_module_stack": STACK}, "network.0"),
        ({"stack_trace": None, "nn_module_stack": None}, ""),
        ({}, ""),
    ],
)
def test_origin(meta: dict, text: str) -> None:
    assert origin_of(meta) == text


def test_root_class_and_path() -> None:
    assert (root_class({"nn_module_stack": STACK}), module_path({"nn_module_stack": STACK})) == ("Volo", "network.0")
    assert (root_class({}), module_path({})) == ("", "")
    as_class = {"nn_module_stack": {"": ("", OSError)}}
    assert root_class(as_class) == "OSError"


def test_placeholder_of_torch_is_no_module() -> None:
    name = "_empty_nn_module_stack_from_metadata_hook"
    assert root_class({"nn_module_stack": {name: (name, name)}}) == ""
