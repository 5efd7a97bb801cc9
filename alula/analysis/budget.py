"""Which products to leave in float so that a model in bytes loses no more than it may."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alula.analysis.sensitivity import Sensitivity
from alula.analysis.timing import Times

SLOWER = 1.02  # times as long in bytes as in float: less than that may be chance
LEAST_GAIN_MS = 1e-4


def slower(bytes_: Times, floats: Times) -> dict[str, str]:
    """Products that take longer in bytes than in float, by label, and how long they take."""
    return {
        label: f"slower in int8: {ms:.3f} ms against {floats.ms[label]:.3f} ms"
        for label, ms in bytes_.ms.items()
        if label in floats.ms and ms > SLOWER * floats.ms[label]
    }


def ranked(found: Iterable[Sensitivity], bytes_: Times, floats: Times) -> list[str]:
    """The products' labels, those first that disturb the outputs most for each millisecond that bytes save."""

    def cost(one: Sensitivity) -> float:
        gain = floats.ms.get(one.label, 0.0) - bytes_.ms.get(one.label, 0.0)
        return one.output_noise / max(gain, LEAST_GAIN_MS)

    return [one.label for one in sorted(found, key=cost, reverse=True) if one.output_noise > 0]


@dataclass(slots=True)
class Search:
    """How many products, from the front of `order`, have to be in float for a drop of at most `budget`.

    `drop(labels)` measures a mix.  `tried` holds what was measured, by how many products were in float; `late` says
    when to stop with the best that was found.
    """

    order: Sequence[str]
    budget: float
    drop: Callable[[Sequence[str]], float]
    late: Callable[[], bool]
    tried: dict[int, float] = field(default_factory=dict)

    def run(self) -> int:
        """The least number found that keeps the budget; where none does, the one with the least drop.

        Twice as many at a time until the budget is kept, then half way between what keeps it and what does not.
        """
        fails, keeps, number = -1, len(self.order) + 1, 0
        while not self._keeps(number):
            fails = number
            if number == len(self.order) or self.late():
                break
            number = min(len(self.order), max(1, 2 * number))
        else:
            keeps = number
        while keeps <= len(self.order) and keeps - fails > 1 and not self.late():
            middle = (fails + keeps) // 2
            fails, keeps = (fails, middle) if self._keeps(middle) else (middle, keeps)
        return self.best

    @property
    def best(self) -> int:
        """Of what was tried."""
        keeping = [number for number, drop in self.tried.items() if drop <= self.budget]
        return min(keeping) if keeping else min(self.tried, key=lambda number: (self.tried[number], number))

    def thinned(self, found: Mapping[str, Sensitivity]) -> tuple[list[str], float]:
        """The best without those that can be in bytes after all, and what its mix drops.

        A front of the ranking ends where one product is too much; smaller ones before it may still fit.  Those that
        disturb the outputs least are tried first; nothing is where even the best does not keep the budget.
        """
        kept, drop = list(self.order[: self.best]), self.tried[self.best]
        if drop > self.budget:
            return kept, drop
        for label in sorted(kept, key=lambda label: found[label].output_noise):
            if self.late():
                break
            fewer = [other for other in kept if other != label]
            if (points := self.drop(fewer)) <= self.budget:
                kept, drop = fewer, points
        return kept, drop

    def _keeps(self, number: int) -> bool:
        self.tried[number] = self.drop(self.order[:number])
        return self.tried[number] <= self.budget


def reasons(labels: Iterable[str], found: Mapping[str, Sensitivity]) -> dict[str, str]:
    """Why products are left in float for the sake of accuracy."""
    noise = sum(one.output_noise for one in found.values())
    return {
        label: f"in bytes it would make {found[label].output_noise / noise:.1%} of the output error" for label in labels
    }
