import ctypes
import time

import numpy as np
import pytest

from netc.backends.llvm.engine import OPT_LEVELS, Library, compile_to_object, emit_assembly, link_to_object
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


def test_sixty_objects_load_quickly_and_each_keeps_its_own_code():
    target = host_target()
    objects = {f"f{i}": compile_to_object(set_text(f"f{i}", i), target) for i in range(60)}
    start = time.perf_counter()
    with Library(objects, target) as library:
        seconds = time.perf_counter() - start
        slots = np.zeros(1, dtype=np.int64)
        for i in range(60):
            call(library.address(f"f{i}"), slots)
            assert slots[0] == i
    assert seconds < 0.5  # about 3 ms; other processes may hold the cores


def test_constants_and_block_moves_of_the_c_library_are_found():
    target = host_target()
    text = """
@table = private constant [4 x i64] [i64 3, i64 5, i64 7, i64 9]
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define void @f(ptr %slots, i64 %tid, i64 %nth) {
  %n = load i64, ptr %slots
  call void @llvm.memset.p0.i64(ptr %slots, i8 1, i64 %n, i1 false)
  %second = getelementptr i64, ptr %slots, i64 4
  %m = mul i64 %nth, 32
  call void @llvm.memcpy.p0.p0.i64(ptr %second, ptr @table, i64 %m, i1 false)
  ret void
}
"""
    slots = np.zeros(8, dtype=np.int64)
    slots[0] = 16
    with Library({"f": compile_to_object(text, target)}, target) as library:
        call(library.address("f"), slots)
    assert slots.tolist() == [0x0101010101010101] * 2 + [0, 0, 3, 5, 7, 9]


def test_other_symbols_of_an_object_are_found_and_unknown_ones_are_a_key_error():
    target = host_target()
    with Library({"f": compile_to_object(set_text("f", 1) + set_text("g", 2), target)}, target) as library:
        assert library.address("g") != library.address("f")
        with pytest.raises(KeyError):
            library.address("h")


def test_a_closed_library_gives_no_addresses():
    target = host_target()
    library = Library({"f": compile_to_object(set_text("f", 1), target)}, target)
    library.close()
    library.close()
    with pytest.raises(ValueError, match="closed"):
        library.address("f")


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


def test_a_missing_symbol_is_an_error_and_not_an_abort():
    target = host_target()
    text = "declare void @nowhere()\ndefine void @f() {\n call void @nowhere()\n ret void\n}"
    with pytest.raises(InternalError, match="cannot load the compiled kernels"):
        Library({"f": compile_to_object(text, target)}, target)


def test_a_damaged_object_is_an_error_and_not_an_abort():
    target = host_target()
    data = compile_to_object(set_text("f", 1), target)
    for damaged in (b"", b"no object at all", data[: len(data) // 2]):
        with pytest.raises(InternalError, match="cannot load the compiled kernels"):
            Library({"f": damaged}, target)


def test_the_same_symbol_in_two_objects_is_an_error():
    target = host_target()
    data = compile_to_object(set_text("f", 1) + set_text("g", 1), target)
    with pytest.raises(InternalError, match="duplicate definition"):
        Library({"f": data, "g": data}, target)


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
