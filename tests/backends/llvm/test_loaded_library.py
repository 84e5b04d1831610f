import numpy as np
import pytest
from test_llvm_engine import call, set_text

from netc.backends.llvm import library as module
from netc.backends.llvm.elf_image import CannotLinkError
from netc.backends.llvm.engine import compile_to_object
from netc.backends.llvm.library import Library
from netc.backends.llvm.target import host_target
from netc.ir.diagnostics import InternalError


@pytest.fixture(autouse=True, params=["our linker", "LLVM's"])
def linker(request, monkeypatch):
    if request.param == "LLVM's":

        def refuse(*_):
            raise CannotLinkError("not in this test")

        monkeypatch.setattr(module, "ElfImage", refuse)


def test_each_of_sixty_objects_keeps_its_own_code():
    target = host_target()
    objects = {f"f{i}": compile_to_object(set_text(f"f{i}", i), target) for i in range(60)}
    with Library(objects, target) as library:
        slots = np.zeros(1, dtype=np.int64)
        for i in range(60):
            call(library.address(f"f{i}"), slots)
            assert slots[0] == i


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
