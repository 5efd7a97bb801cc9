import ctypes
from dataclasses import replace

import pytest

from alula.codegen.library.processor import FLAGS, emit_processor
from alula.codegen.library.session import ANY_X86_64
from alula.codegen.module import Code
from alula.core.errors import CodegenError
from alula.core.target import AVX2, TARGETS
from alula.runtime.host import processor_flags, supports
from alula.runtime.native import linked


def runs(target):
    code = Code(ANY_X86_64)
    emit_processor(code, target).linkage = ""
    library = linked(code.object(), ["alula_processor"])
    return bool(ctypes.CFUNCTYPE(ctypes.c_int32)(library["alula_processor"])())


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_target_runs_where_linux_lists_its_flags(target):
    assert runs(target) == supports(target)


@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_is_asked_of_the_processor(flag):
    assert runs(replace(AVX2, flags=(flag,))) == (flag in processor_flags())


def test_a_flag_that_nobody_can_ask_for():
    with pytest.raises(CodegenError, match=r"target avx2: expected flags whose bits are known, got \['sse9'\]"):
        emit_processor(Code(ANY_X86_64), replace(AVX2, flags=("fma", "sse9")))
