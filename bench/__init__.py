"""Benchmarks: `python -m bench` compares engines; its modules `gemm`, `ops`, `kernels` and `load` look inside."""
