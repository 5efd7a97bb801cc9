"""One LLVM module in the making: its functions, the intrinsics they need, and the object code it becomes."""

from __future__ import annotations

from collections.abc import Sequence

import llvmlite.binding as llvm
from llvmlite import ir

from alula.core.target import CpuTarget

TRIPLE = "x86_64-unknown-linux-gnu"
POINTER = ir.PointerType()
I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32 = ir.FloatType()
VOID = ir.VoidType()


class Code:
    """Functions for one target, each made once.  `object()` turns them into position-independent machine code."""

    def __init__(self, target: CpuTarget) -> None:
        self.target = target
        self.uses_matrix = False  # a function uses the processor's tile registers
        self.module = ir.Module(name="alula")
        self.module.triple = TRIPLE

    def function(
        self, name: str, result: ir.Type, parameters: Sequence[ir.Type], *, exported: bool = False
    ) -> ir.Function:
        """A new function to fill in; only `exported` ones are seen from outside."""
        function = ir.Function(self.module, ir.FunctionType(result, parameters), name)
        function.attributes.add("nounwind")
        if not exported:
            function.linkage = "internal"
        return function

    def get(self, name: str) -> ir.Function | None:
        """The function called `name`, where there is one already."""
        found = self.module.globals.get(name)
        return found if isinstance(found, ir.Function) else None

    def made(self, name: str) -> ir.Function:
        """The function called `name`.  Raises KeyError where nobody made it."""
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def declare(
        self, name: str, result: ir.Type, parameters: Sequence[ir.Type], *, variadic: bool = False
    ) -> ir.Function:
        """A function from outside: an LLVM intrinsic, or one of libc."""
        found = self.get(name)
        return found or ir.Function(self.module, ir.FunctionType(result, parameters, var_arg=variadic), name)

    def machine(self) -> llvm.TargetMachine:
        """LLVM's code generator for the target."""
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        llvm.initialize_native_asmparser()  # for instructions that have no intrinsic
        target = llvm.Target.from_triple(TRIPLE)
        features = "-prefer-256-bit" if self.target.vector_bits == 512 else ""
        return target.create_target_machine(
            cpu=self.target.cpu, features=features, opt=3, reloc="pic", codemodel="small"
        )

    def compiled(self) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
        """The optimised module and the machine it was optimised for."""
        machine = self.machine()
        module = llvm.parse_assembly(str(self.module))
        module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = (
            False
        )
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        return module, machine

    def object(self) -> bytes:
        """The machine code as a relocatable object file."""
        module, machine = self.compiled()
        return bytes(machine.emit_object(module))

    def assembly(self) -> str:
        """The machine code as text, for people and for the tests that count instructions."""
        module, machine = self.compiled()
        return str(machine.emit_assembly(module))
