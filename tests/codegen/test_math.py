"""Vector exp, log, erf, GELU and kin: their stated errors against float64, their special values, their machine code."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from alula.codegen.kernels import math
from alula.codegen.module import F32, I64, POINTER, VOID, Code
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.core.target import AVX2, AVX512, CpuTarget
from tests.conftest import ROOT

from .conftest import Jit, stack_accesses, undefined_symbols, vector_operations

Array = np.ndarray
Kernel = Callable[..., Vec]
INF, NAN = np.inf, np.nan
TARGETS = [
    pytest.param(AVX2, marks=pytest.mark.isa("avx2"), id="avx2"),
    pytest.param(AVX512, marks=pytest.mark.isa("avx512"), id="avx512"),
]


def by_torch(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Array], Array]:
    """A float64 function of PyTorch as one of NumPy arrays."""
    return lambda x: function(torch.from_numpy(x)).numpy()


def gelu_tanh_float64(x: Array) -> Array:
    y = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return x * by_torch(torch.sigmoid)(2 * y)


@dataclass(frozen=True)
class Case:
    """One function: its float64 reference, its stated error in ulp, and where that holds."""

    emit: Kernel
    reference: Callable[[Array], Array]
    ulp: float
    low: float
    high: float

    def __str__(self) -> str:
        return self.emit.__name__


CASES = [
    Case(math.exp, np.exp, 1.0, -86.98, 89.0),
    Case(math.log, np.log, 1.0, 0.0, INF),
    Case(math.erf, by_torch(torch.erf), 2.0, -INF, INF),
    Case(math.tanh, np.tanh, 2.0, -INF, INF),
    Case(math.sigmoid, by_torch(torch.sigmoid), 2.5, -87.3, INF),
    Case(math.silu, by_torch(torch.nn.functional.silu), 2.5, -88.7, INF),
    Case(math.rsqrt, lambda x: 1 / np.sqrt(x), 1.5, 0.0, INF),
]
GELUS = [
    Case(math.gelu_erf, by_torch(lambda x: x * torch.special.ndtr(x)), 0.0, -INF, INF),
    Case(math.gelu_tanh, gelu_tanh_float64, 0.0, -INF, INF),
]


def map_code(target: CpuTarget, emit: Kernel, inputs: int = 1) -> Code:
    """`run(x, y, out, n)`: out[i] = emit(x[i]) or emit(x[i], y[i])."""
    code = Code(target)
    function = code.function("run", VOID, [POINTER, POINTER, POINTER, I64], exported=True)
    e = Emitter(code, function)
    *sources, out, count = function.args
    with e.loop(Int(e, count), step=e.lanes) as loop:
        vectors = [e.load(Ptr(e, source), loop.index) for source in sources[:inputs]]
        e.store(emit(e, *vectors), Ptr(e, out), loop.index)
    e.end()
    return code


def single_code(target: CpuTarget, emit: Kernel, inputs: int = 1) -> Code:
    """`run(x, y, out)` for one vector of each."""
    code = Code(target)
    function = code.function("run", VOID, [POINTER] * 3, exported=True)
    e = Emitter(code, function)
    *sources, out = function.args
    e.store(emit(e, *(e.load(Ptr(e, source)) for source in sources[:inputs])), Ptr(e, out))
    e.end()
    return code


def evaluate(jit: Jit, target: CpuTarget, emit: Kernel, x: Array, y: Array | None = None) -> Array:
    """The compiled function of float32 arrays of any length."""
    address = jit(map_code(target, emit, inputs=1 if y is None else 2), "run")["run"]
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)(address)
    padded = [np.resize(source, -(-x.size // 16) * 16).astype(np.float32) for source in (x, x if y is None else y)]
    out = np.empty_like(padded[0])
    run(padded[0].ctypes.data, padded[1].ctypes.data, out.ctypes.data, out.size)
    return out[: x.size]


@pytest.fixture(scope="module")
def samples() -> Array:
    """Numbers of every exponent and sign, dense ones where the functions do something, and the special values."""
    anything = (np.arange(1 << 18, dtype=np.uint64) * 16381 % (1 << 32)).astype(np.uint32).view(np.float32)
    dense = [np.linspace(-top, top, 1 << 18) for top in (0.01, 1.5, 12.0, 110.0)]
    special = [0.0, -0.0, INF, -INF, NAN, 1e-45, -1e-45, 1e-38, -1e-38, 3.4028235e38, -3.4028235e38]
    return np.concatenate([anything, *dense, special], dtype=np.float32, casting="same_kind")


def wide(case: Case, x: Array) -> Array:
    """The float64 reference."""
    with np.errstate(all="ignore"):
        return case.reference(x.astype(np.float64))


def ulps(got: Array, reference: Array) -> Array:
    """Errors in units of the last place of the float32 nearest to the reference."""
    largest = np.finfo(np.float32).max
    nearest = np.minimum(np.abs(reference), np.nextafter(largest, 0)).astype(np.float32)  # no spacing above the largest
    return np.abs(got.astype(np.longdouble) - reference) / np.spacing(nearest)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_error_in_ulp_is_as_stated(jit: Jit, samples: Array, case: Case, target: CpuTarget) -> None:
    x = samples[(samples > case.low) & (samples < case.high)]
    reference = wide(case, x)
    in_range = np.abs(reference) <= np.float64(np.finfo(np.float32).max)
    got = evaluate(jit, target, case.emit, x)
    np.testing.assert_array_equal(got[~in_range], np.where(reference[~in_range] > 0, INF, -INF))
    error = ulps(got[in_range], reference[in_range])
    worst = error.argmax()
    assert error[worst] <= case.ulp, f"{error[worst]} ulp at {x[in_range][worst]!r}"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", GELUS, ids=str)
def test_gelu_error_is_as_stated(jit: Jit, samples: Array, case: Case, target: CpuTarget) -> None:
    x = samples[np.isfinite(samples)]
    reference = wide(case, x)
    error = np.abs(evaluate(jit, target, case.emit, x) - reference)
    assert (error / np.maximum(1.0, np.abs(x))).max() <= 1.5e-7
    relative = error / np.maximum(np.abs(reference), np.finfo(np.float32).tiny)
    near = (x >= -3) & (x < 0)
    assert relative[near].max() <= (3e-5 if case.emit is math.gelu_erf else 1e-6)
    assert relative[x >= 0].max() <= 1.7e-7
    if case.emit is math.gelu_erf:
        edge = np.float32(math.NORMAL_EDGE)
        np.testing.assert_array_equal(evaluate(jit, target, case.emit, x[x >= edge]), x[x >= edge])


ZEROS = [(0.0, 0.0), (-0.0, -0.0)]
EXACT: list[tuple[Kernel, list[tuple[float, float]]]] = [
    (math.exp, [(0, 1), (-INF, 0), (INF, INF), (88.73, INF), (3e38, INF), (-86.995, 0), (-104, 0), (-3e38, 0)]),
    (math.log, [(0.0, -INF), (-0.0, -INF), (1, 0), (INF, INF), (-INF, NAN), (-1, NAN), (-1e-45, NAN)]),
    (math.erf, [*ZEROS, (INF, 1), (-INF, -1), (3.93, 1), (-3.93, -1), (3e38, 1)]),
    (math.tanh, [*ZEROS, (INF, 1), (-INF, -1), (9.02, 1), (1e-45, 1e-45), (-1e-45, -1e-45)]),
    (math.sigmoid, [(0, 0.5), (INF, 1), (-INF, 0), (-88.73, 0), (3e38, 1), (-3e38, 0)]),
    (math.silu, [*ZEROS, (INF, INF), (-INF, -0.0), (3e38, 3e38), (-3e38, -0.0)]),
    (math.gelu_tanh, [*ZEROS, (INF, INF), (-INF, -0.0), (3e38, 3e38), (-3e38, -0.0)]),
    (math.gelu_erf, [*ZEROS, (INF, INF), (3e38, 3e38), (2.0**-127, 2.0**-128)]),
    (math.rsqrt, [(0.0, INF), (-0.0, -INF), (4, 0.5), (INF, 0), (-INF, NAN), (-1, NAN), (2.0**-148, 2.0**74)]),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("emit", "pairs"), EXACT, ids=[emit.__name__ for emit, _ in EXACT])
def test_special_values(jit: Jit, emit: Kernel, pairs: list[tuple[float, float]], target: CpuTarget) -> None:
    x, expected = np.array([*pairs, (NAN, NAN)], np.float32).T
    got = evaluate(jit, target, emit, x)
    np.testing.assert_array_equal(got, expected)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(expected[known]))


@pytest.mark.parametrize("target", TARGETS)
def test_gelu_erf_is_next_to_nothing_far_below_zero(jit: Jit, target: CpuTarget) -> None:
    got = evaluate(jit, target, math.gelu_erf, np.array([-INF, -3e38, -100.0, -5.3], np.float32))
    assert np.abs(got).max() < 2e-10


def pow_samples() -> tuple[Array, Array]:
    """Pairs of any bits, pairs with results of every size, bases next to 1, whole exponents, all pairs of specials."""
    rng = np.random.default_rng(0)
    count = 1 << 17
    special = [0.0, 1.0, 2.0, 0.5, 3.0, 2.5, INF, 1e-45, 3.4e38, 16777215, 16777216, 0.99999994, 1.0000001, 33.0, NAN]
    signed = np.array([*special, *(-s for s in special)])
    anything = rng.integers(0, 1 << 32, 2 * count, np.uint32).view(np.float32)
    pairs = [
        (anything[:count], anything[count:]),
        (np.exp(rng.uniform(-20, 20, count)), rng.uniform(-8, 8, count)),
        (rng.uniform(-10, 10, count), rng.integers(-40, 40, count)),
        (rng.uniform(0.999, 1.001, count), rng.uniform(-60_000, 60_000, count)),
        [axis.ravel() for axis in np.meshgrid(signed, signed)],
    ]
    return tuple(np.concatenate([np.float32(part) for part in side]) for side in zip(*pairs, strict=True))


@pytest.mark.parametrize("target", TARGETS)
def test_pow_error_and_special_values(jit: Jit, target: CpuTarget) -> None:
    x, y = pow_samples()
    with np.errstate(all="ignore"):
        reference = np.power(x.astype(np.longdouble), y.astype(np.longdouble))
        rounded = reference.astype(np.float32)
    got = evaluate(jit, target, math.pow, x, y)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    np.testing.assert_array_equal(np.signbit(got[finite]), np.signbit(rounded[finite]))
    assert ulps(got[finite], reference[finite]).max() <= 0.51


UNARY = [case.emit for case in CASES + GELUS]
ALL = [*((emit, 1) for emit in UNARY), (math.pow, 2)]
NAMES = [emit.__name__ for emit, _ in ALL]


@pytest.mark.isa("avx512")
@pytest.mark.parametrize(("emit", "inputs"), ALL, ids=NAMES)
def test_every_target_gives_the_same_bits(jit: Jit, samples: Array, emit: Kernel, inputs: int) -> None:
    arguments = (samples,) if inputs == 1 else pow_samples()
    narrow, wider = (evaluate(jit, target, emit, *arguments) for target in (AVX2, AVX512))
    np.testing.assert_array_equal(narrow.view(np.uint32), wider.view(np.uint32))


@pytest.mark.parametrize("target", [AVX2, AVX512], ids=lambda target: target.name)
@pytest.mark.parametrize(("emit", "inputs"), ALL, ids=NAMES)
def test_machine_code_needs_no_library_and_no_stack(emit: Kernel, inputs: int, target: CpuTarget) -> None:
    code = single_code(target, emit, inputs)
    assert undefined_symbols(code.object()) == []
    assert stack_accesses(code.assembly()) == 0


def test_the_checks_see_a_library_call_and_a_spill() -> None:
    assert undefined_symbols(single_code(AVX512, lambda e, x: e.unary("exp", x)).object()) == ["expf"]

    def crowded(e: Emitter, x: Vec) -> Vec:
        with e.loop(9, carried=[x + float(n) for n in range(40)]) as loop:
            loop.carry([e.fma(value, value, loop.carried[0]) for value in loop.carried])
        total = loop.carried[0]
        for value in loop.carried[1:]:
            total = total * value
        return total

    assert stack_accesses(single_code(AVX512, crowded).assembly()) > 0


@pytest.mark.parametrize(
    ("emit", "most"),
    [
        *((math.exp, 14), (math.tanh, 26), (math.sigmoid, 16), (math.sigmoid_coarse, 15), (math.silu, 16)),
        *((math.silu_coarse, 16), (math.gelu_erf, 19), (math.gelu_tanh, 19), (math.gelu_tanh_coarse, 18)),
        *((math.gelu_coarse, 13), (math.exp2_coarse, 9)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_operations_are_as_many_as_stated(emit: Kernel, most: int) -> None:
    assert vector_operations(single_code(AVX512, emit).assembly()) <= most


@pytest.mark.parametrize("target", TARGETS)
def test_coarse_functions_are_off_by_no_more_than_they_say(jit: Jit, target: CpuTarget, samples: Array) -> None:
    x = np.concatenate([np.linspace(-125, 60, 1 << 18), -np.logspace(-6, 1, 1 << 10), [0.0]])
    y = (x * 2.0**23).astype(np.float32)
    powers = evaluate(jit, target, math.exp2_coarse, y)
    exact = np.exp2(y / 2.0**23, dtype=np.float64) * math.EXP2_COARSE_UNIT
    assert np.abs(powers / exact - 1).max() <= 7e-6, "4e-6 of it, and 3e-6 of the unit"
    low = evaluate(jit, target, math.exp2_coarse, np.array([-125.5 * 2.0**23, -3e38, -INF, NAN], np.float32))
    assert np.all(np.abs(low / (2.0**-125 * math.EXP2_COARSE_UNIT) - 1) <= 7e-6)
    assert np.concatenate([powers, low]).min() >= np.finfo(np.float32).tiny, "subnormal numbers are slow"
    x = samples[np.isfinite(samples) & (np.abs(samples) < 1e30)]
    got = evaluate(jit, target, math.gelu_coarse, x)
    exact = by_torch(lambda x: x * torch.special.ndtr(x))(x.astype(np.float64))
    small = np.abs(x) < 100
    assert np.abs(got - exact)[small].max() <= 3.4e-5
    assert np.array_equal(got[x >= np.float32(4.492909)], x[x >= np.float32(4.492909)])
    assert np.abs(got[x <= -4.6]).max() <= 3.4e-5
    wide = x.astype(np.float64)
    for emit, function in (
        (math.silu_coarse, torch.nn.functional.silu),
        (math.sigmoid_coarse, torch.sigmoid),
        (math.gelu_tanh_coarse, lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
    ):
        error = np.abs(evaluate(jit, target, emit, x) - by_torch(function)(wide)) / np.maximum(1, np.abs(wide))
        assert error.max() <= 2.5e-5, emit.__name__
        ends = evaluate(jit, target, emit, np.array([-INF, INF, NAN], np.float32))
        assert abs(ends[0]) <= 2.5e-5
        assert ends[1] == (pytest.approx(1, abs=2.5e-5) if emit is math.sigmoid_coarse else INF)
        assert np.isnan(ends[2])


Tree = Callable[[Emitter, Sequence[Vec]], object]


def reduce_16(jit: Jit, target: CpuTarget, lanes: int, tree: Tree, x: Array) -> np.float32:
    """The reduction of 16 numbers, in vectors of `lanes`, by the compiled tree."""
    code = Code(target)
    function = code.function("run", VOID, [POINTER, POINTER], exported=True)
    e = Emitter(code, function)
    parts = [e.load(Ptr(e, function.args[0]), start, lanes=lanes) for start in range(0, 16, lanes)]
    e.b.store(tree(e, parts), function.args[1])
    e.end()
    out = np.zeros(1, np.float32)
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2)(jit(code, "run")["run"])(x.ctypes.data, out.ctypes.data)
    return out[0]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_trees_reduce_16_lanes_in_one_order(jit: Jit, target: CpuTarget, lanes: int) -> None:
    rng = np.random.default_rng(1)
    for _ in range(4):
        x = (rng.standard_normal(16) * 10.0 ** rng.integers(-6, 7, 16)).astype(np.float32)
        level = x
        while level.size > 1:
            level = level[: level.size // 2] + level[level.size // 2 :]
        assert reduce_16(jit, target, lanes, math.tree_add, x) == level[0]
        assert reduce_16(jit, target, lanes, math.tree_max, x) == x.max()
        assert reduce_16(jit, target, lanes, math.tree_min, x) == x.min()


def test_trees_refuse_other_counts_of_lanes() -> None:
    code = Code(AVX2)
    e = Emitter(code, code.function("run", F32, []))
    with pytest.raises(ValueError, match="expected parts of 16 lanes together, got 8"):
        math.tree_add(e, [e.constant(1.0)])


def test_coefficients_are_those_that_the_tool_derives(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("fit_polynomials", ROOT / "tools" / "fit_polynomials.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main()
    lines = capsys.readouterr().out.replace("NORMAL_COARSE edge", "COARSE_EDGE").replace("NORMAL edge", "NORMAL_EDGE")
    tables = dict(line.split("#")[0].split(" = ") for line in lines.splitlines())
    assert set(tables) >= {"EXP_TAIL", "LOG_TAIL", "ERF_LARGE", "NORMAL", "NORMAL_EDGE", "EXP2"}
    assert set(tables) >= {"NORMAL_COARSE", "COARSE_EDGE", "EXP2_COARSE", "EXP2_COARSER", "RECIPROCAL"}
    for name, text in tables.items():
        derived = np.array(text.strip("() \n").split(","), np.float64)
        # The linear solver's last bits differ between machines, and the smallest coefficients with them.
        np.testing.assert_allclose(getattr(math, name), derived, rtol=1e-3, err_msg=name)
