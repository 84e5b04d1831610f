import ctypes
import os
import signal
import threading
import time

import numpy as np
import pytest

from netc.backends.llvm import binding
from netc.backends.llvm.engine import OPT_LEVELS, compile_to_object, emit_assembly, link_to_object
from netc.backends.llvm.library import Library
from netc.backends.llvm.target import host_target
from netc.ir.diagnostics import InternalError, NetcError

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


def set_text(name: str, value: int) -> str:
    """A kernel that stores a number into slot 0."""
    return f"""
define void @{name}(ptr %slots, i64 %tid, i64 %nth) {{
  %a = add i64 {value}, %tid
  store i64 %a, ptr %slots
  ret void
}}
"""


def call(address: int, slots: np.ndarray) -> None:
    KERNEL(address)(slots.ctypes.data, 0, 1)


@pytest.mark.parametrize("level", OPT_LEVELS)
def test_text_becomes_code_that_runs_at_every_level(level):
    target = host_target()
    slots = np.zeros(1, dtype=np.int64)
    with Library({"f": compile_to_object(set_text("f", 42), target, level)}, target) as library:
        call(library.address("f"), slots)
    assert slots[0] == 42


def test_equal_text_gives_equal_bytes():
    target = host_target()
    assert compile_to_object(set_text("f", 1), target) == compile_to_object(set_text("f", 1), target)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("define void @f( {", "does not parse"),
        ("define i32 @f() { ret void }", "does not parse"),
        ("define i32 @f() {\n %a = add i32 %b, 1\n %b = add i32 %a, 1\n ret i32 %b\n}", "is not valid"),
    ],
)
def test_bad_text_is_an_internal_error_that_quotes_llvm(text, said):
    with pytest.raises(InternalError, match=f"internal error: the generated LLVM IR {said}") as error:
        compile_to_object(text, host_target())
    assert "please report it" in str(error.value)
    assert error.value.detail


def test_an_unknown_level_is_an_error():
    with pytest.raises(NetcError, match="optimisation level 7"):
        compile_to_object(set_text("f", 1), host_target(), 7)


def test_a_loop_whose_result_is_known_goes_at_the_levels_that_simplify():
    text = """
define void @f(ptr %slots, i64 %tid, i64 %nth) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, 10
  br i1 %more, label %loop, label %end
end:
  store i64 %next, ptr %slots
  ret void
}
"""
    loops = ["LBB0_1" in emit_assembly(text, host_target(), level) for level in (0, 1, 2, 3)]
    assert loops == [True, True, False, False]


def test_emitted_assembly_names_the_kernel():
    assert "\nf:" in emit_assembly(set_text("f", 1), host_target())


def test_linked_modules_call_each_other_and_keep_their_inner_functions_apart():
    callee = """
define internal i64 @number() noinline { ret i64 40 }
define void @first(ptr %p, i64 %tid, i64 %nth) {
  %n = call i64 @number()
  store i64 %n, ptr %p
  ret void
}"""
    caller = """
declare void @first(ptr, i64, i64)
define internal i64 @number() noinline { ret i64 2 }
define void @both(ptr %p, i64 %tid, i64 %nth) {
  call void @first(ptr %p, i64 %tid, i64 %nth)
  %old = load i64, ptr %p
  %more = call i64 @number()
  %new = add i64 %old, %more
  store i64 %new, ptr %p
  ret void
}"""
    target = host_target()
    code = link_to_object([caller, callee], {"both"}, target)
    with Library({"both": code}, target) as library:
        value = ctypes.c_int64()
        KERNEL(library.address("both"))(ctypes.addressof(value), 0, 1)
        assert value.value == 42
        with pytest.raises(KeyError):
            library.address("first")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_another_thread_is_in_llvm_can_compile():
    target = host_target()
    expected = compile_to_object(set_text("f", 1), target)
    lock, inside = binding.ffi.lib._lock, threading.Event()

    def stay() -> None:
        with lock:
            inside.set()
            time.sleep(0.2)

    other = threading.Thread(target=stay)
    other.start()
    inside.wait()
    child = os.fork()
    if not child:
        signal.alarm(60)
        try:
            os._exit(0 if compile_to_object(set_text("f", 1), target) == expected else 1)
        finally:
            os._exit(2)
    other.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert compile_to_object(set_text("f", 1), target) == expected  # the parent's lock is free again
