"""What may be chosen about quantisation; the defaults are the recipe that the graph itself decides by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from alula.core.errors import UsageError
from alula.quant.thresholds import ALGORITHMS

Activations = Literal["asymmetric", "symmetric", "per-token"]
Weights = Literal["per-channel", "per-tensor"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """How ranges are made of what calibration saw, what levels activations have, how many scales weights.

    asymmetric: 256 levels from end to end; symmetric: 255, 0 in the middle; per-token: a scale for each row of a linear
    layer's input, found while the model runs.  Nodes in `float_nodes`, by their names in calibration files, are not
    quantised; the texts say why.  Raises UsageError for a choice that there is not.
    """

    algorithm: str = "eqnm"
    activations: Activations = "asymmetric"
    weights: Weights = "per-channel"
    float_nodes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        choices = (
            ("calibration algorithm", self.algorithm, tuple(ALGORITHMS)),
            ("activations", self.activations, get_args(Activations)),
            ("weights", self.weights, get_args(Weights)),
        )
        for what, chosen, known in choices:
            if chosen not in known:
                raise UsageError(f"{what}: expected one of {', '.join(known)}, got {chosen!r}")
