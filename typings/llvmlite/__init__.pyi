# Types of llvmlite 0.50, as far as Alula uses it.
__version__: str
