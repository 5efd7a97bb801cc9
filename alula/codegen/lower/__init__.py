"""One file for each family of ops, as in ops/: which kernels compute them."""

from alula.codegen.lower import attention, conv, gemm, map, norm, outlook, pool, reduce, shape, softmax  # noqa: F401
