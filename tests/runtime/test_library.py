"""Libraries compute in C what modules compute in Python: on this machine, and on an emulated ARM."""

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_machines import MACHINES, Machine, native, undefined_symbols
from golden_cases import CASES, COMPILED_TOLERANCE, FOLDER, load, phase_of, under, weights_of

import netc
from netc.backends.llvm.library import IMPORTS
from netc.ir.diagnostics import NetcError
from netc.runtime.c_interface import header_text
from netc.runtime.library import c_name, write_library
from netc.runtime.options import CompileOptions, parse_input_shape

ROOT = Path(__file__).parents[2]
LENET = ROOT / "examples/lenet/lenet.prototxt"
LENET_WEIGHTS = ROOT / "examples/lenet/lenet_iter_10000.caffemodel"
TOLERANCE = 1e-5
C_LIBRARY = {
    "aligned_alloc", "free", "sched_yield", "syscall", "sem_init", "sem_wait", "sem_post", "sem_destroy",
    "pthread_create", "pthread_join",
}  # fmt: skip

CONV = "convolution_param { %s weight_filler { type: 'xavier' } bias_filler { type: 'uniform' min: -0.1 max: 0.1 } }"


def layer(name: str, type_: str, bottom: str, body: str = "", top: str = "") -> str:
    bottoms = " ".join(f'bottom: "{b}"' for b in bottom.split())
    return f'layer {{ name: "{name}" type: "{type_}" {bottoms} top: "{top or name}" {body} }}\n'


def conv(name: str, bottom: str, shape: str) -> str:
    return layer(name, "Convolution", bottom, CONV % shape)


def net(name: str, shape: tuple[int, ...], *layers: str) -> str:
    dims = " ".join(f"dim: {d}" for d in shape)
    data = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}'
    return "\n".join((f'name: "{name}"', data, *layers))


def prelu(bottom: str) -> str:
    return layer(f"{bottom}_prelu", "PReLU", bottom, top=bottom)


# MTCNN's first net
DET1 = net(
    "det1",
    (1, 3, 31, 24),
    conv("conv1", "data", "num_output: 10 kernel_size: 3"),
    prelu("conv1"),
    layer("pool1", "Pooling", "conv1", "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"),
    conv("conv2", "pool1", "num_output: 16 kernel_size: 3"),
    prelu("conv2"),
    conv("conv3", "conv2", "num_output: 32 kernel_size: 3"),
    prelu("conv3"),
    conv("conv4-1", "conv3", "num_output: 2 kernel_size: 1"),
    conv("conv4-2", "conv3", "num_output: 4 kernel_size: 1"),
    layer("prob1", "Softmax", "conv4-1"),
)
BRANCHES = net(
    "2 branches, LRN",
    (2, 3, 19, 17),
    conv("stem", "data", "num_output: 24 kernel_size: 5 stride: 2"),
    layer("relu", "ReLU", "stem", top="stem"),
    layer("norm", "LRN", "stem", "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"),
    conv("left", "norm", "num_output: 20 kernel_size: 1"),
    conv("right", "norm", "num_output: 12 kernel_size: 3 pad: 1 group: 2"),
    layer("both", "Concat", "left right"),
    layer("pool", "Pooling", "both", "pooling_param { pool: AVE global_pooling: true }"),
    layer(
        "fc",
        "InnerProduct",
        "pool",
        "inner_product_param { num_output: 11 weight_filler { type: 'xavier' } }",
    ),
    layer("prob", "Softmax", "fc"),
)
WINOGRAD = net(
    "winograd",
    (1, 64, 28, 28),
    conv("a", "data", "num_output: 64 kernel_size: 3 pad: 1"),
    layer("relu", "ReLU", "a", top="a"),
    conv("b", "a", "num_output: 64 kernel_size: 3 pad: 1"),
    layer("sum", "Eltwise", "a b"),
)
NETS = {"det1": DET1, "branches": BRANCHES, "winograd": WINOGRAD}

machines = pytest.mark.parametrize("machine", MACHINES)


def library_of(source, weights, folder, machine: Machine, **options):
    return write_library(source, weights, folder, CompileOptions(target=machine.target, **options))


def check(got, wanted, tolerance=TOLERANCE):
    assert set(got) == set(wanted)
    for name, array in wanted.items():
        assert got[name].shape == array.shape
        assert np.abs(got[name] - array).max() <= tolerance * np.abs(array).max(), name


def inputs_of(module, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-1, 1, shape).astype("f4") for name, shape in module.inputs.items()}


@machines
@pytest.mark.parametrize("name", NETS)
def test_a_library_computes_what_a_module_does(machine, name, tmp_path):
    machine = MACHINES[machine]()
    module = netc.compile(NETS[name])
    inputs = inputs_of(module)
    library = library_of(NETS[name], None, tmp_path, machine)
    wanted = module.run(**inputs)
    one = machine.outputs(library, inputs)
    check(one, wanted)
    three = machine.outputs(library, inputs, threads=3)
    for output in wanted:
        np.testing.assert_array_equal(one[output], three[output])


def test_the_winograd_net_has_winograd_kernels_on_every_target():
    for target in ("cpu:avx2", "cpu:aarch64-linux"):
        module = netc.compile(WINOGRAD, target=target)
        assert any(name.startswith("winograd_conv") for name in module.compiled.objects)


@machines
def test_lenet_with_real_weights_tells_a_digit(machine, tmp_path):
    machine = MACHINES[machine]()
    image = pytest.importorskip("PIL.Image")
    digit = np.asarray(image.open(ROOT / "examples/lenet/digits/7.png").convert("L"), "f4")[None, None] / 256
    shapes = {"data": (1, 1, 28, 28)}
    library = library_of(LENET, LENET_WEIGHTS, tmp_path, machine, input_shapes=tuple(shapes.items()))
    module = netc.compile(LENET, LENET_WEIGHTS, input_shapes=shapes)
    got = machine.outputs(library, {"data": digit})
    check(got, module.run(data=digit))
    printed = machine.run(tmp_path / "main", tmp_path / "in.bin")
    assert printed.splitlines()[:2] == ["prob, item 0:", f"       7  {got['prob'][0, 7]:g}"]


GOLDEN_QUICK = ("net_inception", "net_residual_bn", "deconvolution_group_bilinear", "lrn_within", "mvn")
# what a library refuses: ops that are run by their reference, and what lasts or varies from run to run
REFUSED = {
    "no kernel": (
        "accuracy", "accuracy_topk_perclass", "argmax_axis", "argmax_topk_val", "batchreindex", "embed",
        "hingeloss_l1", "hingeloss_l2", "im2col", "infogainloss", "multinomiallogisticloss",
        "pooling_max_mask",
    ),
    "how many rows": ("filter",),
    "keeps states": ("lstm", "rnn"),
}  # fmt: skip
ALL_REFUSED = [case for cases in REFUSED.values() for case in cases]
GOLDEN_OTHERS = [c for c in CASES if phase_of(c) == "TEST" and c not in (*GOLDEN_QUICK, *ALL_REFUSED)]


def check_golden(case, machine, folder):
    arrays = load(case)
    path = FOLDER / f"{case}.prototxt"
    library = library_of(path, weights_of(arrays), folder, machine)
    check(machine.outputs(library, under(arrays, "in/")), under(arrays, "out/"), COMPILED_TOLERANCE)


@machines
@pytest.mark.parametrize("case", GOLDEN_QUICK)
def test_libraries_compute_what_the_original_does(case, machine, tmp_path):
    check_golden(case, MACHINES[machine](), tmp_path)


@pytest.mark.slow
@machines
@pytest.mark.parametrize("case", GOLDEN_OTHERS)
def test_libraries_compute_what_the_original_does_everywhere(case, machine, tmp_path):
    check_golden(case, MACHINES[machine](), tmp_path)


CALLS = """
#define _POSIX_C_SOURCE 200809L
#include <string.h>
#include <time.h>
#include "det1.h"

#define CHECK(line, condition) do { if (!(condition)) return line; } while (0)

int main(void) {
    det1_net *one, *two, *many;
    struct timespec parking = {0, 20000000};
    static float kept[DET1_OUTPUT_0_SIZE];
    int shape[DET1_INPUT_0_RANK] = DET1_INPUT_0_SHAPE;
    CHECK(1, shape[0] * shape[1] * shape[2] * shape[3] == DET1_INPUT_0_SIZE);
    CHECK(2, det1_create(NULL, 1) == DET1_BAD_ARGUMENT);
    CHECK(3, det1_create(&one, 0) == DET1_BAD_ARGUMENT && one == NULL);
    CHECK(4, det1_create(&one, DET1_MAX_THREADS + 1) == DET1_BAD_ARGUMENT);
    CHECK(5, det1_create(&one, 1) == DET1_OK && det1_create(&two, 2) == DET1_OK);
    CHECK(6, det1_input(one, -1) == NULL && det1_input(one, DET1_INPUTS) == NULL && det1_input(NULL, 0) == NULL);
    CHECK(7, det1_output(one, -1) == NULL && det1_output(one, DET1_OUTPUTS) == NULL);
    CHECK(8, det1_run(NULL) == DET1_BAD_ARGUMENT);
    for (int i = 0; i < DET1_INPUT_0_SIZE; i++)
        det1_input(one, 0)[i] = (float)(i % 7) - 3;
    CHECK(9, det1_run(one) == DET1_OK && det1_run(two) == DET1_OK);
    CHECK(10, memcmp(det1_output(one, 0), det1_output(two, 0), sizeof kept) != 0);
    memcpy(kept, det1_output(one, 0), sizeof kept);
    memcpy(det1_input(two, 0), det1_input(one, 0), sizeof(float) * DET1_INPUT_0_SIZE);
    for (int i = 0; i < 200; i++)
        CHECK(11, det1_run(two) == DET1_OK);
    CHECK(12, memcmp(kept, det1_output(one, 0), sizeof kept) == 0);
    CHECK(13, memcmp(kept, det1_output(two, 0), sizeof kept) == 0);
    det1_free(one);
    CHECK(14, det1_run(two) == DET1_OK && memcmp(kept, det1_output(two, 0), sizeof kept) == 0);
    for (int i = 0; i < 5; i++) {
        nanosleep(&parking, NULL);
        CHECK(15, det1_run(two) == DET1_OK && memcmp(kept, det1_output(two, 0), sizeof kept) == 0);
    }
    det1_free(two);
    CHECK(16, det1_create(&many, DET1_MAX_THREADS) == DET1_OK);
    CHECK(17, det1_run(many) == DET1_OK);
    det1_free(many);
    CHECK(18, det1_create(&many, 3) == DET1_OK);
    det1_free(many);
    det1_free(NULL);
    return 0;
}
"""


@machines
def test_the_interface_answers_wrong_calls_and_nets_are_independent(machine, tmp_path):
    machine = MACHINES[machine]()
    library = library_of(DET1, None, tmp_path, machine)
    source = tmp_path / "calls.c"
    source.write_text(CALLS)
    machine.run(machine.build(library, source=source))


@machines
def test_two_libraries_serve_one_program(machine, tmp_path):
    machine = MACHINES[machine]()
    first = library_of(DET1, None, tmp_path, machine)
    second = library_of(WINOGRAD, None, tmp_path, machine)
    source = tmp_path / "two.c"
    source.write_text(
        '#include "det1.h"\n#include "winograd.h"\n'
        "int main(void) { det1_net *a; winograd_net *b;\n"
        "    int bad = det1_create(&a, 1) || winograd_create(&b, 2) || det1_run(a) || winograd_run(b);\n"
        "    det1_free(a); winograd_free(b); return bad; }\n"
    )
    machine.run(machine.build(first, source=source, others=second.files))


def test_the_program_of_the_documentation_runs(tmp_path):
    machine = native()
    shapes = (("data", (1, 1, 28, 28)),)
    library = library_of(LENET, LENET_WEIGHTS, tmp_path, machine, input_shapes=shapes)
    page = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```c\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    source = tmp_path / "documented.c"
    source.write_text(block)
    printed = machine.run(machine.build(library, source=source)).splitlines()
    module = netc.compile(LENET, LENET_WEIGHTS, input_shapes=dict(shapes))
    wanted = module.run(data=np.full((1, 1, 28, 28), 0.5, "f4"))["prob"][0]
    assert printed == [f"{i}: {value:g}" for i, value in enumerate(wanted)]


@pytest.mark.parametrize("target", ["cpu:sse2", "cpu:avx2"])
def test_a_library_needs_nothing_but_the_c_library(target, tmp_path):
    library = write_library(BRANCHES, None, tmp_path, CompileOptions(target=target))
    code, header, example, data = library.files
    name = "net_2_branches_LRN"
    assert (header.name, example.name) == (f"{name}.h", "main.c")
    assert undefined_symbols(code) <= {*IMPORTS, *C_LIBRARY, f"{name}_weights"}
    assert undefined_symbols(data) == set()


def test_a_shared_library_serves_other_languages(tmp_path):
    machine = native()
    library = library_of(DET1, None, tmp_path, machine)
    objects = [path for path in library.files if path.suffix == ".o"]
    shared = tmp_path / "libdet1.so"
    subprocess.run([*machine.compiler, "-shared", *objects, "-o", shared, "-lm", "-pthread"], check=True)
    loaded = ctypes.CDLL(str(shared))
    loaded.det1_input.restype = loaded.det1_output.restype = ctypes.POINTER(ctypes.c_float)
    handle = ctypes.c_void_p()
    assert loaded.det1_create(ctypes.byref(handle), 2) == 0
    module = netc.compile(DET1)
    inputs = inputs_of(module)
    np.ctypeslib.as_array(loaded.det1_input(handle, 0), inputs["data"].shape)[...] = inputs["data"]
    assert loaded.det1_run(handle) == 0
    wanted = module.run(**inputs)
    for i, tensor in enumerate(library.interface.outputs):
        got = np.ctypeslib.as_array(loaded.det1_output(handle, i), tensor.shape)
        np.testing.assert_allclose(got, wanted[tensor.name], atol=TOLERANCE)
    loaded.det1_free(handle)
    assert not hasattr(loaded, "det1_weights")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("LeNet", "LeNet"),
        ("2 branches", "net_2_branches"),
        ("__x", "x"),
        ("", "net"),
        ("ü/", "net"),
        ("a" * 99, "a" * 48),
    ],
)
def test_names_of_nets_become_names_of_c(name, wanted):
    assert c_name(name) == wanted


def test_the_header_states_names_that_are_no_plain_text(tmp_path):
    text = net("x", (1, 2), layer('odd\\"?é', "ReLU", "data"))
    library = write_library(text, None, tmp_path, CompileOptions(target="cpu:avx2"))
    assert '#define X_OUTPUT_0_NAME "odd\\042\\077\\303\\251"' in header_text(library.interface)


def refusal(source, tmp_path, **options):
    options.setdefault("target", "cpu:avx2")
    with pytest.raises(NetcError) as error:
        write_library(source, None, tmp_path / "lib", CompileOptions(**options))
    assert not (tmp_path / "lib").exists()
    return str(error.value)


def test_sizes_that_may_be_any_are_refused(tmp_path):
    text = refusal(DET1, tmp_path, input_shapes=(parse_input_shape("data=N,3,24,24"),))
    assert "N may be any" in text
    assert "--input-shape" in text


def test_a_number_of_threads_is_an_argument_of_the_interface(tmp_path):
    assert "give it to det1_create" in refusal(DET1, tmp_path, threads=2)


def test_training_and_other_targets_than_cpus_are_refused(tmp_path):
    assert "phase TEST" in refusal(DET1, tmp_path, phase="TRAIN")
    for target in ("numpy", "cuda:sm_90"):
        assert f"not of the target {target}" in refusal(DET1, tmp_path, target=target)


@pytest.mark.parametrize(("why", "cases"), REFUSED.items(), ids=REFUSED)
def test_what_a_library_cannot_hold_is_refused_at_its_layer(why, cases, tmp_path):
    for case in cases:
        text = refusal(FOLDER / f"{case}.prototxt", tmp_path)
        assert why in text
        assert f"{case}.prototxt:" in text
        assert "error: layer '" in text
        assert "help: " in text


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NetcError, match="file/x: Not a directory"):
        write_library(DET1, None, tmp_path / "file" / "x", CompileOptions())
