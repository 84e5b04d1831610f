"""The commands with their arguments."""

from __future__ import annotations

import click

from netc.cli.image_options import IMAGE_SCALING
from netc.cli.make_command import JSON, PIN, Parameter, command, net_command

EMIT_STAGES = ("tensor", "buffer", "loop", "llvm", "asm", "cuda", "ptx", "cubin", "sass-info")
DRAW_STAGES = ("net", "import", "tensor", "buffer")
UPGRADE_KINDS = ("net", "solver", "weights")
DATA_SETS = ("mnist", "mnist-siamese", "cifar10")
BACKENDS = ("lmdb", "leveldb")
PICTURE_FORMATS = ("dot", "svg", "png")

_FILES: tuple[Parameter, ...] = (
    click.argument("source", metavar="INPUT", type=click.Path()),
    click.argument("target", metavar="OUTPUT", type=click.Path()),
)

COMPILE = net_command(
    "compile",
    "Compile a net into one file or a C library, or show the code at any stage.",
    "Compile the net MODEL (a .prototxt) into one file that runs without compiling again, or a C library.",
    "netc.cli.compile_",
    click.option("-o", "--output", metavar="FILE", help="File to write: MODEL's name with .netc."),
    click.option(
        "--emit", "stage", type=click.Choice(EMIT_STAGES), help="Print this code, and write no .netc file."
    ),
    click.option(
        "--emit-lib", "folder", metavar="DIR", help="Write a library for C: objects, a header, an example."
    ),
    click.option(
        "--print-after", multiple=True, metavar="PASS", help="Print the IR after a pass (on stderr)."
    ),
    JSON,
)

RUN = net_command(
    "run",
    "Run a net on images or arrays.",
    """Run the net MODEL (a .prototxt, or a file that `netc compile` wrote) on FILEs.

    FILEs are images, prepared as Caffe's Classifier does; or arrays: x.npz with an array for each input,
    NAME=x.npy, or x.npy if there is one input only.
    """,
    "netc.cli.run",
    click.argument("files", nargs=-1, required=True, metavar="FILE..."),
    click.option("--labels", metavar="FILE", help="Names of the classes, one a line."),
    click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes to show."),
    click.option("--blob", metavar="NAME", help="The output to rank: the first."),
    click.option("-o", "--output", metavar="FILE.npz", help="Write all outputs there, and show none."),
    click.option("--mean", metavar="VALUES|FILE", help="Subtracted: 104,117,123, or a .npy or .binaryproto."),
    *IMAGE_SCALING,
    click.option("--image-dims", metavar="H,W", help="Resize images to this, then crop: the input's size."),
    click.option("--oversample", is_flag=True, help="Mean over 10 crops: corners, centre, and mirrored."),
    PIN,
    JSON,
)

TIME = net_command(
    "time",
    "Time every kernel of a net.",
    """Time the net MODEL on random input: each kernel's median, and its part of the machine's peak.

    The peak is the time that the machine would need at its measured limits of arithmetic and memory: its
    operations at the rate of multiply-adds, or the bytes of its operands at the rate of reading, whichever
    takes longer. More than 100 % is possible where data stays in the caches, or where an algorithm does
    fewer operations than are counted.
    """,
    "netc.cli.time_",
    click.option(
        "--repeats", type=click.IntRange(1, 100_000), default=30, show_default=True, help="Timed runs."
    ),
    click.option(
        "--size", multiple=True, metavar="N=4", help="What a symbol of the input's shape stands for."
    ),
    click.option(
        "--roofline",
        is_flag=True,
        help="The slowest kernels first, with the floor of each and what bounds it.",
    ),
    click.option(
        "--plot",
        is_flag=False,
        flag_value="",
        metavar="[FILE.png]",
        help="Draw the kernels under the roofline, in NAME.roofline.png unless told; needs matplotlib.",
    ),
    click.option(
        "--backward", is_flag=True, help="Time forward and backward of the net as compiled for training."
    ),
    PIN,
    JSON,
)

BENCH = command(
    "bench",
    "Time the reference models, in netc and in other engines.",
    """Time the NETs in netc and in its peers, those that are installed: each in its own process, in turns.

    NETs are names of the models that come with netc (caffenet, googlenet, vgg16, resnet50, squeezenet_v1.1,
    mobilenet_v1 and lenet unless told) or files. Prints tables in Markdown: times, ratios, differences of
    outputs, memory. Exits with 3 where outputs differ, or where --check finds a ratio that got worse.
    """,
    "netc.cli.bench",
    click.argument("nets", nargs=-1, metavar="[NET]..."),
    click.option("--batch", metavar="N,...", help="Batch sizes: 1,16; with --train 16."),
    click.option(
        "--threads", metavar="N,...", default="2", show_default=True, help="Threads of every engine."
    ),
    click.option("--train", is_flag=True, help="Time iterations of training, not forward passes."),
    click.option("--peers", "peer_names", metavar="NAME,...", help="torch, compile, ort, openvino, opencv."),
    click.option("--peer-python", metavar="FILE", help="The interpreter that has the peers: netc's own."),
    click.option(
        "--seconds",
        type=click.FloatRange(0, 3600, min_open=True),
        default=2.0,
        show_default=True,
        help="Of one engine in one round.",
    ),
    click.option("--rounds", type=click.IntRange(1, 10_000), default=5, show_default=True, help="Of turns."),
    click.option(
        "--tolerance",
        type=click.FloatRange(0, 1),
        default=1e-3,
        show_default=True,
        help="Largest difference of outputs, relative to the largest output.",
    ),
    click.option(
        "--json",
        "json_file",
        is_flag=False,
        flag_value="-",
        metavar="[FILE]",
        help="Write everything measured to a file; print it instead of the tables without one.",
    ),
    click.option(
        "--check",
        metavar="FILE|DIR",
        help="Compare with a run that --json wrote; of a folder with the newest on such a machine.",
    ),
    click.option(
        "--margin", default="10%", show_default=True, help="By how much a ratio may be worse in --check."
    ),
    click.option("--history", metavar="DIR", help="Run nothing: show how the runs in a folder went."),
    click.option("--draw", metavar="FILE", help="Run nothing: draw the run that --json wrote, in -o."),
    click.option(
        "-o", "--output", metavar="FILE", help="Draw --history or --draw there: .png, .svg or .pdf."
    ),
)

INSPECT = net_command(
    "inspect",
    "List the layers of a net.",
    """List the layers of the net MODEL with their shapes, parameters and flops. Compiles nothing.

    With --target cuda:sm_90 it lists kernels instead: their flops, bytes, functions and predicted time.
    """,
    "netc.cli.inspect_",
    JSON,
)

DRAW = net_command(
    "draw",
    "Draw a net, or its IR.",
    "Draw the net MODEL; without -o its graph is printed in the DOT language.",
    "netc.cli.draw",
    click.option("-o", "--output", metavar="FILE", help="File to write; its suffix says the format."),
    click.option("--format", "kind", type=click.Choice(PICTURE_FORMATS), help="dot (text), svg or png."),
    click.option(
        "--of",
        "stage",
        type=click.Choice(DRAW_STAGES),
        default="net",
        show_default=True,
        help="net: the layers; import: the ops they become; tensor: after all passes; buffer: the kernels.",
    ),
)

CONVERT = command(
    "convert",
    "Write a net or its weights in another format.",
    """Write the net or the weights in INPUT to OUTPUT, in the format of OUTPUT's suffix.

    Nets: .prototxt and .net. Weights: .caffemodel, .caffemodel.h5 and .safetensors. Both come out in the
    current generation; comments are lost.
    """,
    "netc.cli.convert",
    *_FILES,
)

UPGRADE = command(
    "upgrade",
    "Bring a net, a solver or weights to Caffe's current generation.",
    "Upgrade INPUT, a prototxt or a caffemodel of any generation, and write it to OUTPUT.",
    "netc.cli.upgrade",
    *_FILES,
    click.option(
        "--kind",
        type=click.Choice(UPGRADE_KINDS),
        help="What INPUT is: weights for a .caffemodel, else a net.",
    ),
)

EXPORT = net_command(
    "export",
    "Write a net with its weights as an ONNX file.",
    """Write the net MODEL with its weights to OUTPUT, whose suffix is .onnx.

    Without weights the parameters have the values of their fillers.
    """,
    "netc.cli.export",
    click.argument("output", type=click.Path()),
)

DATA = command(
    "data",
    "Make the databases of a published data set.",
    """Make Caffe's databases of the data set NAME in the folder DIR.

    Its archives are looked for in DIR and downloaded to it where they are not there. mnist: mnist_train_lmdb
    and mnist_test_lmdb; mnist-siamese: pairs of digits, mnist_siamese_train_lmdb and
    mnist_siamese_test_lmdb; cifar10: cifar10_train_lmdb, cifar10_test_lmdb and mean.binaryproto.
    """,
    "netc.cli.data",
    click.argument("name", metavar="NAME", type=click.Choice(DATA_SETS)),
    click.argument("folder", metavar="DIR", type=click.Path()),
    click.option("--from", "source", metavar="FOLDER", help="Where the archives are; nothing is downloaded."),
    click.option(
        "--backend",
        type=click.Choice(BACKENDS),
        default=BACKENDS[0],
        show_default=True,
        help="Kind of database.",
    ),
    JSON,
)

COMMANDS = (COMPILE, RUN, TIME, BENCH, INSPECT, DRAW, CONVERT, UPGRADE, EXPORT, DATA)
