"""What only moves elements, as PyTorch has it: results must be equal to the bit."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from alula.core.errors import UnsupportedOperator
from alula.frontends.torch import from_torch
from tests.frontends.torch.importing import Function, agree, all_agree, image, op_names

SHAPE = (4, 6, 5)

FORMS = {
    "view": lambda x: x.view(x.shape[0], 2, -1),
    "view merges the batch": lambda x: x.view(-1, 5),
    "view splits the batch": lambda x: x.reshape(-1, 6, 5).view(x.shape[0], 4, 6, 5),
    "view of a product": lambda x: x.view(x.shape[0] * 4, 30),
    "view_as": lambda x: x.flatten(1).view_as(x),
    "reshape after transpose": lambda x: x.transpose(1, 2).reshape(x.shape[0], -1),
    "flatten": nn.Flatten(),
    "unflatten": lambda x: x.unflatten(2, (3, -1)),
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "squeeze all": lambda x: x[:1, :1, :1, :3].squeeze(),
    "squeeze several": lambda x: x[:, :1, :1].squeeze((1, 2)),
    "unsqueeze": lambda x: x.unsqueeze(-1).unsqueeze(0),
    "permute": lambda x: x.permute(0, 2, -1, 1),
    "transpose": lambda x: x.transpose(-1, 1),
    "swapaxes": lambda x: x.swapaxes(1, 2),
    "mT": lambda x: x.mT,
    "t": lambda x: x[:, 0, 0].t(),
    "T": torch.ops.aten.numpy_T,
    "movedim": lambda x: x.movedim(1, -1),
    "expand": lambda x: x[:, :1].expand(-1, 3, -1, 5),
    "expand new axis": lambda x: x.expand(2, *x.shape),
    "expand_as": lambda x: x[:, :1].expand_as(x),
    "broadcast_to": lambda x: x[:, :, :1].broadcast_to(x.shape),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "repeat new axis": lambda x: x.repeat(2, 1, 1, 1, 1),
    "repeat the batch": lambda x: x.repeat(2, 1, 1, 1),
    "repeat a constant": lambda x: torch.ones(1, 3).repeat(x.shape[0], 1),
    "slice": lambda x: x[:, 1:3, :-1, 2:],
    "slice with a step": lambda x: x[:, :, 1::2, ::3],
    "slice outside": lambda x: x[:, -9:2, 3:99],
    "slice empty": lambda x: x[:, 3:1],
    "slice the batch": lambda x: x[:1],
    "slice the batch from the back": lambda x: x[-1:],
    "select": lambda x: x[:, 2],
    "select from the back": lambda x: x[..., -1],
    "select of the batch": lambda x: x[0],
    "select the last of the batch": lambda x: x[-1],
    "narrow": lambda x: x.narrow(2, 1, 3),
    "unbind": lambda x: x.unbind(1),
    "split": lambda x: x.split(4, 2),
    "split sizes": lambda x: x.split([1, 3, 2], dim=-2),
    "chunk": lambda x: x.chunk(3, 2),
    "cat": lambda x: torch.cat([x, x[:, :2]], 1),
    "cat last": lambda x: torch.cat([x, x], -1),
    "cat with an empty one": lambda x: torch.cat([torch.zeros(0), x], 1),
    "cat of dtypes": lambda x: torch.cat([x, x.double()], 1),
    "cat with a constant": lambda x: torch.cat([torch.ones(1, 1, 6, 5).expand(x.shape[0], -1, -1, -1), x], 1),
    "stack": lambda x: torch.stack([x, x * 2], 2),
    "stack last": lambda x: torch.stack([x, x], -1),
    "roll": lambda x: torch.roll(x, (1, -2), (2, 3)),
    "roll by nothing": lambda x: torch.roll(x, 6, 2),
    "pad": lambda x: F.pad(x, (1, 2, 0, 3)),
    "pad with a value": lambda x: F.pad(x, (1, 0), value=-1.5),
    "aten constant_pad_nd": lambda x: torch.ops.aten.constant_pad_nd(x, [1, 0, 2, 1], 0.5),
    "pad that crops": lambda x: F.pad(x, (-1, 1, -2, 0)),
    "zero pad": nn.ZeroPad2d((1, 0, 2, 1)),
    "pixel shuffle": nn.PixelShuffle(2),
}


def test_forms() -> None:
    all_agree(FORMS, *SHAPE, bound=0)


def test_views_that_change_nothing_leave_no_node() -> None:
    assert op_names(agree(lambda x: x.view(x.shape).permute(0, 1, 2, 3)[:, :].expand(-1, -1, -1, -1), *SHAPE)) == []


def test_repeating_an_axis_of_one_is_an_expand() -> None:
    assert "expand" in op_names(agree(lambda x: torch.ones(1, 3).repeat(x.shape[0], 1), *SHAPE))


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: torch.roll(x, 1), "aten.roll.default without axes"),
        (lambda x: F.pad(x, (1, 1), mode="reflect"), "aten."),
        (lambda x: x.flip(1), "aten.flip.default"),
    ],
)
def test_refused(function, text: str) -> None:
    with pytest.raises(UnsupportedOperator) as error:
        from_torch(Function(function), (image(1, 3, 4),))
    assert text in str(error.value)
