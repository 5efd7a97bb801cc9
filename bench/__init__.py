"""Benchmarks.

`python -m bench` compares engines; its modules `gemm`, `ops`, `kernels` and `load` look inside, and `shares` writes the
page of kernels; `threads` and `bars` check what the project promises, `search` its rules for tiles.
"""
