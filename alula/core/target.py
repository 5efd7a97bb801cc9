"""The processors that code is made for, as data.  Nothing here asks the machine that compiles."""

from __future__ import annotations

from dataclasses import dataclass

from alula.core.errors import UsageError

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class CpuTarget:
    """One instruction set with the sizes that tile and block choices are made from.

    `cpu` is LLVM's name for it and `flags` what `/proc/cpuinfo` must list.  `int8_dot` (vpdpbusd) and `bf16_dot`
    (vdpbf16ps) say which dot products to use, `bf16_round` that it has vcvtneps2bf16, `matrix` that it multiplies tiles
    of 16 x 64 bytes (AMX).
    """

    name: str
    cpu: str
    vector_bits: int
    vector_registers: int
    flags: tuple[str, ...]
    int8_dot: bool = False
    bf16_dot: bool = False
    bf16_round: bool = False
    matrix: bool = False
    l1d_bytes: int = 32 * KIB
    l2_bytes: int = 1 * MIB

    @property
    def chains(self) -> int:
        """How many chains of operations, each of which waits for the one before, go side by side in the registers."""
        return 4 if self.vector_registers >= 32 else 2

    def lanes(self, bits: int = 32) -> int:
        """Elements of `bits` bits in one vector register."""
        return self.vector_bits // bits


_AVX2_FLAGS = ("avx2", "fma", "f16c")
_AVX512_FLAGS = (*_AVX2_FLAGS, "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd")

AVX2 = CpuTarget("avx2", "haswell", 256, 16, _AVX2_FLAGS, l2_bytes=256 * KIB)
AVX512 = CpuTarget("avx512", "skylake-avx512", 512, 32, _AVX512_FLAGS)
AVX512_VNNI = CpuTarget("avx512-vnni", "cascadelake", 512, 32, (*_AVX512_FLAGS, "avx512_vnni"), int8_dot=True)
AVX512_BF16 = CpuTarget(
    "avx512-bf16", "cooperlake", 512, 32, (*AVX512_VNNI.flags, "avx512_bf16"),
    int8_dot=True, bf16_dot=True, bf16_round=True,
)  # fmt: skip

# Its vdpbf16ps does half of what two multiply-adds of widened halves do (119 against 233 GFLOP/s a thread).
AMX = CpuTarget(
    "amx", "sapphirerapids", 512, 32, (*AVX512_BF16.flags, "amx_tile", "amx_int8", "amx_bf16"),
    int8_dot=True, bf16_round=True, matrix=True, l1d_bytes=48 * KIB, l2_bytes=2 * MIB,
)  # fmt: skip

TARGETS = {target.name: target for target in (AVX2, AVX512, AVX512_VNNI, AVX512_BF16, AMX)}


def target_named(name: str) -> CpuTarget:
    """The target called `name`.  Raises UsageError naming those there are."""
    if name not in TARGETS:
        raise UsageError(f"target: expected one of {', '.join(TARGETS)}, got {name!r}")
    return TARGETS[name]
