"""What a compiled model needs to stand alone as a shared library: its C interface, as LLVM IR for any x86-64."""
