"""Reading and writing at places, and sorting, as PyTorch has them."""

import torch

from tests.frontends.torch.importing import agree, all_agree, op_names

SHAPE = (4, 6)
PLACES = torch.tensor([[[3, 0, 5], [1, 1, 2], [4, 4, 0], [0, 2, 5]]])

DOWN = torch.tensor([[[3, 0, 1], [1, 1, 2]]])


def places(x):
    return PLACES.expand(x.shape[0], -1, -1)


FORMS = {
    "index_select": lambda x: torch.index_select(x, 2, torch.tensor([5, 0, 0])),
    "embedding": lambda x: torch.nn.functional.embedding(places(x), torch.eye(6, 3)),
    "gather": lambda x: torch.gather(x, 2, places(x)),
    "gather of another axis": lambda x: torch.gather(x, 1, DOWN.expand(x.shape[0], -1, -1)),
    "scatter": lambda x: torch.scatter(x, 2, places(x)[..., :2], x[..., :3]),
    "scatter a number": lambda x: torch.scatter(x, 2, places(x), 7.0),
    "scatter_add": lambda x: torch.scatter_add(x, 2, places(x), x),
    "scatter_reduce": lambda x: torch.scatter_reduce(x, 2, places(x), x, "amax"),
    "top": lambda x: torch.topk(x, 3),
    "sort": lambda x: torch.sort(x, dim=1),
    "sort, descending and stable": lambda x: torch.sort(x, stable=True, descending=True),
    "argmax": lambda x: torch.argmax(x, 2),
    "argmin": lambda x: torch.argmin(x, 1, keepdim=True),
    "bottom of another axis": lambda x: torch.topk(x, 2, 1, largest=False),
}


def test_forms() -> None:
    all_agree(FORMS, *SHAPE)


def test_they_are_one_op_each() -> None:
    assert op_names(agree(FORMS["gather"], *SHAPE)).count("gather") == 1
    assert op_names(agree(FORMS["top"], *SHAPE)) == ["top_k"]
