"""The C header of a library, and a program that uses it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from netc import __version__
from netc.backends.llvm import library_api as api
from netc.runtime.memory import show_bytes


@dataclass(frozen=True)
class Tensor:
    """An input or output: float32, row-major."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class Interface:
    """What a header says: ``prefix`` begins all names; ``scratch_bytes`` is for each thread."""

    prefix: str
    target: str
    triple: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    memory_bytes: int
    scratch_bytes: int
    weight_bytes: int


def build_lines(interface: Interface) -> tuple[str, ...]:
    """The commands that build the example and a shared library."""
    p = interface.prefix
    compiler = "aarch64-linux-gnu-gcc" if interface.triple.startswith("aarch64") else "cc"
    return (
        f"{compiler} -O2 main.c {p}.o {p}_weights.o -o main -lm -pthread",
        f"{compiler} -shared {p}.o {p}_weights.o -o lib{p}.so -lm -pthread",
    )


def header_text(interface: Interface) -> str:
    """The header."""
    p, upper = interface.prefix, interface.prefix.upper()
    program, shared = build_lines(interface)
    memory = show_bytes(interface.memory_bytes)
    scratch = show_bytes(interface.scratch_bytes)
    weights = show_bytes(interface.weight_bytes)
    return f"""/* The net {p}, compiled by netc {__version__} for {interface.target} ({interface.triple}).
 *
 * A library without dependencies besides the C library. To build the example, or a shared library:
 *
 *     {program}
 *     {shared}
 *
 * The weights ({weights}) are read-only data, which the operating system loads when it is
 * first used, once for all processes. A net's memory is {memory}, and {scratch} for each thread.
 * All arrays are float32, row-major, in the order of dimensions that is stated below.
 *
 *     {p}_net *net;
 *     if ({p}_create(&net, 1) != {upper}_OK) ...
 *     memcpy({p}_input(net, 0), data, sizeof(float) * {upper}_INPUT_0_SIZE);
 *     {p}_run(net);
 *     const float *result = {p}_output(net, 0);
 *     {p}_free(net);
 *
 * Nets share nothing that changes: each thread of a program may have its own. One net is used by one thread
 * at a time. Results do not depend on the number of threads.
 */
#ifndef {upper}_H
#define {upper}_H

#ifdef __cplusplus
extern "C" {{
#endif

typedef struct {p}_net {p}_net;

/* What functions return. */
#define {upper}_OK {api.OK}
#define {upper}_BAD_ARGUMENT {api.BAD_ARGUMENT} /* net is NULL, or the number of threads is impossible */
#define {upper}_NO_MEMORY {api.NO_MEMORY}
#define {upper}_NO_THREADS {api.NO_THREADS} /* the operating system starts no more threads */

#define {upper}_MAX_THREADS {api.MAX_THREADS}

{_constants(upper, "INPUT", interface.inputs)}

{_constants(upper, "OUTPUT", interface.outputs)}

/* Makes a net that runs on 1 to {upper}_MAX_THREADS threads, the caller's among them, and puts it into *net;
 * NULL if it fails. With more than one, the others wait inside of the library until {p}_free. A child made by
 * fork() has none of them: create nets behind it. */
int {p}_create({p}_net **net, int threads);

/* The memory of input number `index`, to be written before a run; it keeps its content. NULL if there is no
 * such input. */
float *{p}_input({p}_net *net, int index);

/* Computes the outputs from the inputs. */
int {p}_run({p}_net *net);

/* The memory of output number `index`, valid until {p}_free and changed by {p}_run. NULL if there is no such
 * output. */
const float *{p}_output(const {p}_net *net, int index);

/* Ends the threads and gives the memory back. Nothing happens where net is NULL. */
void {p}_free({p}_net *net);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _constants(upper: str, kind: str, tensors: tuple[Tensor, ...]) -> str:
    lines = [f"#define {upper}_{kind}S {len(tensors)}"]
    for i, tensor in enumerate(tensors):
        name = f"{upper}_{kind}_{i}"
        lines += [
            f"#define {name}_NAME {_c_string(tensor.name)}",
            f"#define {name}_RANK {len(tensor.shape)}",
            f"#define {name}_SHAPE {{{', '.join(map(str, tensor.shape))}}}",
            f"#define {name}_SIZE {tensor.size} /* elements */",
        ]
    return "\n".join(lines)


def _c_string(text: str) -> str:
    """A string of C; what is no plain character is written in octal, which ends after three digits."""
    plain = (chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode("utf-8"))
    return f'"{"".join(plain)}"'


def example_text(interface: Interface) -> str:
    """The program: arrays from a file, or zeros, go in; the largest values of the outputs are printed."""
    p, upper = interface.prefix, interface.prefix.upper()
    sizes = [f"{upper}_INPUT_{i}_SIZE" for i in range(len(interface.inputs))]
    outputs = [
        f"{{{upper}_OUTPUT_{i}_NAME, {upper}_OUTPUT_{i}_SIZE, {t.shape[0] if len(t.shape) > 1 else 1}}}"
        for i, t in enumerate(interface.outputs)
    ]
    return f"""/* Runs the net {p}, and prints the largest values of the first items of its outputs.
 *
 *     {build_lines(interface)[0]}
 *     ./main [INPUT [OUTPUT [THREADS]]]
 *
 * INPUT holds the inputs one behind the other, as raw float32; without it they are zeros. OUTPUT gets the
 * outputs in the same way. An empty name stands for none.
 */
#include <stdio.h>
#include <stdlib.h>

#include "{p}.h"

#define SHOWN 5
#define SHOWN_ITEMS 4

struct output {{
    const char *name;
    size_t size;
    size_t items;
}};

static const size_t input_sizes[] = {{{", ".join([*sizes, "0"])}}};
static const struct output outputs[] = {{{", ".join(outputs)}}};

static int fail(const char *what) {{
    fprintf(stderr, "%s\\n", what);
    return 1;
}}

static int read_inputs({p}_net *net, const char *path) {{
    FILE *file = fopen(path, "rb");
    int good = file != NULL;
    for (int i = 0; good && i < {upper}_INPUTS; i++)
        good = fread({p}_input(net, i), sizeof(float), input_sizes[i], file) == input_sizes[i];
    if (file)
        fclose(file);
    return good;
}}

static int write_outputs(const {p}_net *net, const char *path) {{
    FILE *file = fopen(path, "wb");
    int good = file != NULL;
    for (int i = 0; good && i < {upper}_OUTPUTS; i++)
        good = fwrite({p}_output(net, i), sizeof(float), outputs[i].size, file) == outputs[i].size;
    if (file && fclose(file) != 0)
        good = 0;
    return good;
}}

/* The place of the value that follows that at `last` in falling order; n, where there is none, begins. */
static size_t next_largest(const float *values, size_t n, size_t last) {{
    size_t best = n;
    for (size_t i = 0; i < n; i++) {{
        int behind = last == n || values[i] < values[last] || (values[i] == values[last] && i > last);
        if (behind && (best == n || values[i] > values[best]))
            best = i;
    }}
    return best;
}}

static void print_item(const float *values, size_t n) {{
    size_t at = n;
    for (int k = 0; k < SHOWN && (at = next_largest(values, n, at)) < n; k++)
        printf("  %6lu  %g\\n", (unsigned long)at, values[at]);
}}

int main(int argc, char **argv) {{
    int threads = argc > 3 ? atoi(argv[3]) : 1;
    {p}_net *net;
    int code = {p}_create(&net, threads);
    if (code == {upper}_BAD_ARGUMENT)
        return fail("impossible number of threads");
    if (code != {upper}_OK)
        return fail(code == {upper}_NO_MEMORY ? "not enough memory" : "no more threads");
    if (argc > 1 && argv[1][0] && !read_inputs(net, argv[1]))
        return fail("cannot read the inputs");
    {p}_run(net);
    for (int i = 0; i < {upper}_OUTPUTS; i++) {{
        size_t n = outputs[i].size / outputs[i].items;
        for (size_t item = 0; item < outputs[i].items && item < SHOWN_ITEMS; item++) {{
            printf("%s, item %lu:\\n", outputs[i].name, (unsigned long)item);
            print_item({p}_output(net, i) + n * item, n);
        }}
    }}
    if (argc > 2 && argv[2][0] && !write_outputs(net, argv[2]))
        return fail("cannot write the outputs");
    {p}_free(net);
    return 0;
}}
"""
