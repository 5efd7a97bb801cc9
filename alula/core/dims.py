"""Dimensions that may be symbolic: integers, or polynomials of named sizes with floor divisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd, prod

from alula.core.errors import ShapeError

LARGEST_SIZE = 1 << 40  # of a named size and of a dimension, so that 64-bit arithmetic on them never wraps
MOST_TERMS = 16  # a hostile polynomial could otherwise grow without end; those of models have one to three
MOST_ATOMS = 128  # of a polynomial, those within its floor divisions counted too
LARGEST_COEFFICIENT = 1 << 62


@dataclass(frozen=True, slots=True)
class FloorDiv:
    """floor(value / divisor), an atom of a polynomial when the division is not exact."""

    value: Expr
    divisor: int

    def __str__(self) -> str:
        return f"(({self.value})//{self.divisor})"


Atom = str | FloorDiv
Monomial = tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Expr:
    """A polynomial with integer coefficients: canonical, so equal expressions compare and hash equal."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: Dim) -> Dim:
        return _collect([*self.terms, *_terms(other)])

    def __sub__(self, other: Dim) -> Dim:
        return self + other * -1

    def __rsub__(self, other: Dim) -> Dim:
        return self * -1 + other

    def __mul__(self, other: Dim) -> Dim:
        return _collect([(a + b, x * y) for a, x in self.terms for b, y in _terms(other)])

    def __floordiv__(self, divisor: Dim) -> Dim:
        if isinstance(divisor, Expr):
            return quotient(self, divisor)
        if not 1 <= divisor <= LARGEST_COEFFICIENT:
            raise ShapeError(f"dimension: expected a divisor of 1..{LARGEST_COEFFICIENT}, got {divisor}")
        whole = _collect([(m, c // divisor) for m, c in self.terms])
        return whole + _floor_of_rest([(m, c % divisor) for m, c in self.terms if c % divisor], divisor)

    __radd__ = __add__
    __rmul__ = __mul__

    def __str__(self) -> str:
        return "+".join("*".join([*map(str, m), *([str(c)] if c != 1 or not m else [])]) for m, c in self.terms)

    __repr__ = __str__

    def at(self, sizes: Mapping[str, int]) -> int:
        """Its value with the named sizes put in.  Raises KeyError for a name without one."""
        return sum(c * prod(_atom_at(atom, sizes) for atom in m) for m, c in self.terms)

    def put_in(self, sizes: Mapping[str, int]) -> Dim:
        """What it is where some of the names are numbers."""
        parts = (product([c, *(_atom_with(atom, sizes) for atom in m)]) for m, c in self.terms)
        return sum(parts, start=0)

    def symbols(self) -> set[str]:
        """The names it depends on."""
        return {name for m, _ in self.terms for atom in m for name in _atom_symbols(atom)}


Dim = int | Expr


def symbol(name: str) -> Expr:
    """The dimension called `name`."""
    return Expr((((name,), 1),))


def dim_at(dim: Dim, sizes: Mapping[str, int]) -> int:
    """`dim` as an integer, with the named sizes put in."""
    return dim if isinstance(dim, int) else dim.at(sizes)


def dim_with(dim: Dim, sizes: Mapping[str, int]) -> Dim:
    """What `dim` is where some of its names are numbers."""
    return dim if isinstance(dim, int) else dim.put_in(sizes)


def dim_symbols(dim: Dim) -> set[str]:
    """The names `dim` depends on; none for an integer."""
    return set() if isinstance(dim, int) else dim.symbols()


def product(dims: Iterable[Dim]) -> Dim:
    """The product of dims; 1 for none."""
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total


def quotient(value: Dim, divisor: Dim) -> Dim:
    """value / divisor where it is exact.  Raises ValueError where it is not."""
    if isinstance(divisor, int):
        if isinstance(value, int) and divisor and value % divisor == 0:
            return value // divisor
        if isinstance(value, Expr) and divisor and all(c % divisor == 0 for _, c in value.terms):
            return value // divisor
    elif isinstance(value, Expr) and len(divisor.terms) == 1:
        (atoms, coefficient), terms = divisor.terms[0], []
        for monomial, c in value.terms:
            rest = list(monomial)
            for atom in atoms:
                if atom not in rest:
                    break
                rest.remove(atom)
            else:
                if c % coefficient == 0:
                    terms.append((tuple(rest), c // coefficient))
        if len(terms) == len(value.terms):
            return _collect(terms)
    raise ValueError(f"dimension: expected a multiple of {divisor}, got {value}")


def common_factors(a: Sequence[Dim], b: Sequence[Dim]) -> list[tuple[int, int, Dim]] | None:
    """The coarsest row-major factors of both: (index in a, index in b, size); None where there are none, or a 0."""
    pieces: list[tuple[int, int, Dim]] = []
    left, right = ([(i, dim) for i, dim in enumerate(dims) if dim != 1] for dims in (a, b))
    if any(dim == 0 for _, dim in left + right):
        return None
    while left and right:
        (i, x), (j, y) = left.pop(0), right.pop(0)
        if x == y:
            pieces.append((i, j, x))
        elif (rest := _ratio(y, x)) is not None:
            pieces.append((i, j, x))
            right.insert(0, (j, rest))
        elif (rest := _ratio(x, y)) is not None:
            pieces.append((i, j, y))
            left.insert(0, (i, rest))
        else:
            return None
    return pieces if not left and not right else None


def known_multiple(dim: Dim, divisor: int) -> bool:
    """True where `dim` is a multiple of `divisor` whatever the named sizes are."""
    return dim % divisor == 0 if isinstance(dim, int) else all(c % divisor == 0 for _, c in dim.terms)


def remainders(dim: Dim, divisor: int) -> list[int]:
    """What dim % divisor can be besides 0, ascending; more than it can be where `dim` is not fixed."""
    if isinstance(dim, int):
        return [dim % divisor] if dim % divisor else []
    return list(range(0, divisor, gcd(divisor, *(c for _, c in dim.terms))))[1:]


def bounds(dim: Dim, ranges: Mapping[str, tuple[int, int]] | None = None) -> tuple[int, int]:
    """A lower and an upper bound of `dim` by interval arithmetic; a name without a range is of 1..LARGEST_SIZE."""
    if isinstance(dim, int):
        return dim, dim
    terms = [_monomial_bounds(monomial, c, ranges or {}) for monomial, c in dim.terms]
    return sum(low for low, _ in terms), sum(high for _, high in terms)


def at_least(value: Dim, least: Dim) -> bool:
    """True where value >= least is certain whatever the named sizes are, each being 1 or more."""
    return bounds(value - least)[0] >= 0


def _monomial_bounds(monomial: Monomial, low: int, ranges: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    high = low
    for atom in monomial:
        corners = [a * b for a in (low, high) for b in _atom_bounds(atom, ranges)]
        low, high = min(corners), max(corners)
    return low, high


def _atom_bounds(atom: Atom, ranges: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    if isinstance(atom, str):
        return ranges.get(atom, (1, LARGEST_SIZE))
    low, high = bounds(atom.value, ranges)
    return low // atom.divisor, high // atom.divisor


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    return dim.terms if isinstance(dim, Expr) else (((), dim),)


def _collect(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    sums: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        key = tuple(sorted(monomial, key=str))
        sums[key] = sums.get(key, 0) + coefficient
    kept = sorted(((m, c) for m, c in sums.items() if c), key=lambda term: (-len(term[0]), str(term[0])))
    if not kept or kept[0][0] == ():
        return kept[0][1] if kept else 0
    if len(kept) > MOST_TERMS or sum(map(_atom_count, sums)) > MOST_ATOMS:
        raise ShapeError(f"dimension: expected at most {MOST_TERMS} terms and {MOST_ATOMS} factors, got more")
    if any(abs(c) > LARGEST_COEFFICIENT for _, c in kept):
        raise ShapeError(f"dimension: expected coefficients within +-{LARGEST_COEFFICIENT}, got a larger one")
    return Expr(tuple(kept))


def _floor_of_rest(terms: list[tuple[Monomial, int]], divisor: int) -> Dim:
    """floor(terms / divisor) for coefficients of 1..divisor-1, in the one form that equal values share."""
    inner = [m[0] for m, c in terms if len(m) == c == 1 and isinstance(m[0], FloorDiv)]
    if len(inner) == 1 and isinstance(inner[0], FloorDiv):  # floor((a + floor(b/d)) / e) = floor((a*d + b) / (d*e))
        others = _collect([(m, c * inner[0].divisor) for m, c in terms if m != (inner[0],)])
        return (others + inner[0].value) // (inner[0].divisor * divisor)
    common = gcd(*(c for m, c in terms if m), divisor)
    rest = _collect([(m, c // common) for m, c in terms])  # the constant's remainder never reaches the next multiple
    if isinstance(rest, int) or common > 1:
        return rest // (divisor // common)
    return _collect([((FloorDiv(rest, divisor),), 1)])


def _atom_count(monomial: Monomial) -> int:
    return 1 + sum(1 if isinstance(a, str) else sum(_atom_count(m) for m, _ in a.value.terms) for a in monomial)


def _atom_at(atom: Atom, sizes: Mapping[str, int]) -> int:
    return sizes[atom] if isinstance(atom, str) else atom.value.at(sizes) // atom.divisor


def _atom_with(atom: Atom, sizes: Mapping[str, int]) -> Dim:
    if isinstance(atom, str):
        return sizes[atom] if atom in sizes else symbol(atom)
    return atom.value.put_in(sizes) // atom.divisor


def _atom_symbols(atom: Atom) -> set[str]:
    return {atom} if isinstance(atom, str) else atom.value.symbols()


def _ratio(value: Dim, divisor: Dim) -> Dim | None:
    try:
        return quotient(value, divisor)
    except ValueError:
        return None
