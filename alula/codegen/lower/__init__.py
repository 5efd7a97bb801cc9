"""One file for each family of ops, as in ops/: which kernels compute them."""

from alula.codegen.lower import gemm, map  # noqa: F401
