"""A model of the zoo as what is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from alula.core.dtype import Array
from bench.subject import CALIBRATION_IMAGES, CALIBRATION_SEED, SEED, Subject
from bench.zoo.pictures import pictures
from bench.zoo.table import MODELS, random_model


class ZooSubject(Subject):
    """Its images are `pictures`, f32[b,3,size,size]."""

    def images(self, batch: int) -> Array:
        return pictures(batch, self.shape[-1], np.random.default_rng(SEED))

    @property
    def calibration(self) -> list[Array]:
        generator = np.random.default_rng(CALIBRATION_SEED)
        return [pictures(1, self.shape[-1], generator) for _ in range(CALIBRATION_IMAGES)]


def zoo_subject(name: str, folder: Path, size: int | None = None, **settings: Any) -> ZooSubject:
    """The model called `name`; `size` and `settings` are for another than the full one."""
    size = size or MODELS[name].size
    return ZooSubject(f"{name}-{size}", random_model(name, SEED, size, **settings), (3, size, size), folder)
