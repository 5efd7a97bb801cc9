"""One file for each family of ops, as in ops/: which kernels compute them."""

from alula.codegen.lower import (  # noqa: F401
    attention,
    conv,
    depthwise,
    gather,
    gemm,
    interpolate,
    map,
    matmul,
    norm,
    normalize,
    outlook,
    pool,
    quantize,
    reduce,
    scatter,
    shape,
    softmax,
    sort,
    unfold,
)
