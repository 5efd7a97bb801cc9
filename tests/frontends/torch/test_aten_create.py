"""Tensors made inside a module: constants where their shape is fixed, expanded numbers where it has the batch."""

import torch

from tests.frontends.torch.importing import all_agree, op_names

OF_THE_BATCH = {
    "zeros": lambda x: torch.zeros(x.shape[0], 2) + x[:, :2],
    "zeros_like": torch.zeros_like,
    "new_zeros": lambda x: x.new_zeros(x.shape),
    "ones": lambda x: torch.ones(x.shape[0], 2, dtype=torch.int64),
    "ones_like": torch.ones_like,
    "new_ones": lambda x: x.new_ones(x.shape[0], 1),
    "full": lambda x: torch.full((x.shape[0], 2), 2.5),
    "full_like": lambda x: torch.full_like(x, -1),
    "new_full": lambda x: x.new_full((2, x.shape[0]), 3),
}
FIXED = {
    "arange": lambda x: x + torch.arange(4),
    "linspace": lambda x: x + torch.linspace(0, 1, 4),
    "zeros": lambda x: x + torch.zeros(4),
    "index of a constant": lambda x: x + torch.arange(9.0)[torch.tensor([0, 8, 3, 3])],
    "meshgrid": lambda x: (
        x + torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).sum(0).flatten()
    ),
    "eye": lambda x: x @ torch.eye(4).roll(1, 0),
}


def test_of_the_batch() -> None:
    assert op_names(all_agree(OF_THE_BATCH, 4)).count("expand") == len(OF_THE_BATCH)


def test_fixed_shapes_are_constants() -> None:
    assert len(all_agree(FIXED, 4).nodes) == len(FIXED)
