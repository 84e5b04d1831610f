"""Write the deploy definitions of this folder.

    python examples/models/generate.py            # rewrite every .prototxt beside this file
    python examples/models/generate.py resnet50   # print one of them

Layer names, shapes and parameters follow the published networks, so that the caffemodels published for
them load. Every net takes one image; ask the compiler for other batch sizes.
"""

import sys
from collections.abc import Callable
from pathlib import Path

Value = int | float | bool | str


class Definition:
    """A prototxt being written: every method appends one layer and returns the name of its top."""

    def __init__(self, name: str, *input_shape: int) -> None:
        dims = " ".join(f"dim: {d}" for d in input_shape)
        self.blocks = [
            f'name: "{name}"',
            f'layer {{\n  name: "data" type: "Input" top: "data"\n  input_param {{ shape {{ {dims} }} }}\n}}',
        ]

    def layer(self, kind: str, name: str, bottoms: str | list[str], top: str, **param: Value) -> str:
        """Append a layer; `param` fills the message that belongs to its kind."""
        bottoms = [bottoms] if isinstance(bottoms, str) else bottoms
        joined = " ".join(f'bottom: "{b}"' for b in bottoms)
        lines = [f'  name: "{name}" type: "{kind}" {joined} top: "{top}"']
        if param:
            fields = " ".join(f"{key}: {_text(value)}" for key, value in param.items())
            lines.append(f"  {_PARAM_MESSAGE[kind]} {{ {fields} }}")
        self.blocks.append("layer {\n" + "\n".join(lines) + "\n}")
        return top

    def convolution(self, name: str, bottom: str, outputs: int, kernel: int, **param: Value) -> str:
        """Append a convolution; `param` may hold pad, stride, group and bias_term."""
        return self.layer("Convolution", name, bottom, name, num_output=outputs, kernel_size=kernel, **param)

    def relu(self, name: str, blob: str) -> str:
        """Append a ReLU that works in place."""
        return self.layer("ReLU", name, blob, blob)

    def dropout(self, name: str, blob: str, ratio: float) -> str:
        """Append a Dropout that works in place."""
        return self.layer("Dropout", name, blob, blob, dropout_ratio=ratio)

    def max_pool(self, name: str, bottom: str, kernel: int, stride: int, **param: Value) -> str:
        """Append a maximum pooling."""
        window = {"kernel_size": kernel, "stride": stride, **param}
        return self.layer("Pooling", name, bottom, name, pool="MAX", **window)

    def average_pool(self, name: str, bottom: str, **param: Value) -> str:
        """Append an average pooling, with a kernel_size and stride or with global_pooling."""
        return self.layer("Pooling", name, bottom, name, pool="AVE", **param)

    def lrn(self, name: str, bottom: str) -> str:
        """Append the across-channel normalisation that AlexNet and GoogLeNet share."""
        return self.layer("LRN", name, bottom, name, local_size=5, alpha=0.0001, beta=0.75)

    def inner_product(self, name: str, bottom: str, outputs: int) -> str:
        """Append a fully connected layer."""
        return self.layer("InnerProduct", name, bottom, name, num_output=outputs)

    def batch_norm(self, name: str, scale_name: str, blob: str) -> str:
        """Append BatchNorm and the Scale that holds its affine part, both in place."""
        self.layer("BatchNorm", name, blob, blob, use_global_stats=True)
        return self.layer("Scale", scale_name, blob, blob, bias_term=True)

    def softmax(self, bottom: str) -> str:
        """Append the output layer."""
        return self.layer("Softmax", "prob", bottom, "prob")

    def text(self) -> str:
        """The whole file."""
        return "\n".join(self.blocks) + "\n"


_PARAM_MESSAGE = {
    "BatchNorm": "batch_norm_param",
    "Convolution": "convolution_param",
    "Dropout": "dropout_param",
    "InnerProduct": "inner_product_param",
    "LRN": "lrn_param",
    "Pooling": "pooling_param",
    "Scale": "scale_param",
}
_ENUM_VALUES = {"MAX", "AVE"}


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value not in _ENUM_VALUES:
        return f'"{value}"'
    return str(value)


def lenet() -> str:
    """Return LeNet as the MNIST example trains it: ReLU after the first inner product only."""
    d = Definition("LeNet", 1, 1, 28, 28)
    x = d.max_pool("pool1", d.convolution("conv1", "data", 20, 5), 2, 2)
    x = d.max_pool("pool2", d.convolution("conv2", x, 50, 5), 2, 2)
    x = d.relu("relu1", d.inner_product("ip1", x, 500))
    d.softmax(d.inner_product("ip2", x, 10))
    return d.text()


def alexnet() -> str:
    """Return AlexNet: normalisation comes before pooling."""
    d = Definition("AlexNet", 1, 3, 227, 227)
    x = d.relu("relu1", d.convolution("conv1", "data", 96, 11, stride=4))
    x = d.max_pool("pool1", d.lrn("norm1", x), 3, 2)
    x = d.relu("relu2", d.convolution("conv2", x, 256, 5, pad=2, group=2))
    x = d.max_pool("pool2", d.lrn("norm2", x), 3, 2)
    _alexnet_tail(d, x)
    return d.text()


def caffenet() -> str:
    """Return the reference CaffeNet: AlexNet with pooling before normalisation."""
    d = Definition("CaffeNet", 1, 3, 227, 227)
    x = d.relu("relu1", d.convolution("conv1", "data", 96, 11, stride=4))
    x = d.lrn("norm1", d.max_pool("pool1", x, 3, 2))
    x = d.relu("relu2", d.convolution("conv2", x, 256, 5, pad=2, group=2))
    x = d.lrn("norm2", d.max_pool("pool2", x, 3, 2))
    _alexnet_tail(d, x)
    return d.text()


def _alexnet_tail(d: Definition, x: str) -> None:
    x = d.relu("relu3", d.convolution("conv3", x, 384, 3, pad=1))
    x = d.relu("relu4", d.convolution("conv4", x, 384, 3, pad=1, group=2))
    x = d.relu("relu5", d.convolution("conv5", x, 256, 3, pad=1, group=2))
    _classifier_4096(d, d.max_pool("pool5", x, 3, 2))


def _classifier_4096(d: Definition, x: str) -> None:
    for i in (6, 7):
        x = d.relu(f"relu{i}", d.inner_product(f"fc{i}", x, 4096))
        x = d.dropout(f"drop{i}", x, 0.5)
    d.softmax(d.inner_product("fc8", x, 1000))


def vgg16() -> str:
    """Return VGG's 16-layer net (configuration D)."""
    d = Definition("VGG_ILSVRC_16_layers", 1, 3, 224, 224)
    x = "data"
    for stage, (depth, channels) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], start=1):
        for i in range(1, depth + 1):
            x = d.relu(f"relu{stage}_{i}", d.convolution(f"conv{stage}_{i}", x, channels, 3, pad=1))
        x = d.max_pool(f"pool{stage}", x, 2, 2)
    _classifier_4096(d, x)
    return d.text()


# outputs of 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj
_INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet() -> str:
    """Return GoogLeNet without the two auxiliary classifiers, which only training uses."""
    d = Definition("GoogleNet", 1, 3, 224, 224)

    def conv_relu(block: str, branch: str, x: str, outputs: int, kernel: int, **param: Value) -> str:
        y = d.convolution(f"{block}/{branch}", x, outputs, kernel, **param)
        return d.relu(f"{block}/relu_{branch}", y)

    def inception(block: str, x: str) -> str:
        n1, n3_reduce, n3, n5_reduce, n5, n_pool = _INCEPTIONS[block.removeprefix("inception_")]
        branches = [conv_relu(block, "1x1", x, n1, 1)]
        y = conv_relu(block, "3x3_reduce", x, n3_reduce, 1)
        branches.append(conv_relu(block, "3x3", y, n3, 3, pad=1))
        y = conv_relu(block, "5x5_reduce", x, n5_reduce, 1)
        branches.append(conv_relu(block, "5x5", y, n5, 5, pad=2))
        y = d.max_pool(f"{block}/pool", x, 3, 1, pad=1)
        branches.append(conv_relu(block, "pool_proj", y, n_pool, 1))
        return d.layer("Concat", f"{block}/output", branches, f"{block}/output")

    x = d.relu("conv1/relu_7x7", d.convolution("conv1/7x7_s2", "data", 64, 7, pad=3, stride=2))
    x = d.lrn("pool1/norm1", d.max_pool("pool1/3x3_s2", x, 3, 2))
    x = conv_relu("conv2", "3x3_reduce", x, 64, 1)
    x = conv_relu("conv2", "3x3", x, 192, 3, pad=1)
    x = d.max_pool("pool2/3x3_s2", d.lrn("conv2/norm2", x), 3, 2)
    for block in _INCEPTIONS:
        x = inception(f"inception_{block}", x)
        if block in ("3b", "4e"):
            x = d.max_pool(f"pool{block[0]}/3x3_s2", x, 3, 2)
    x = d.average_pool("pool5/7x7_s1", x, kernel_size=7, stride=1)
    x = d.dropout("pool5/drop_7x7_s1", x, 0.4)
    d.softmax(d.inner_product("loss3/classifier", x, 1000))
    return d.text()


def resnet50() -> str:
    """Return ResNet-50 as its authors deploy it: strides on the first 1x1, and a bias in conv1 alone."""
    d = Definition("ResNet-50", 1, 3, 224, 224)

    def conv_bn(suffix: str, x: str, outputs: int, kernel: int, **param: Value) -> str:
        y = d.convolution(f"res{suffix}", x, outputs, kernel, **param, bias_term=False)
        return d.batch_norm(f"bn{suffix}", f"scale{suffix}", y)

    def bottleneck(block: str, x: str, width: int, stride: int, projected: bool) -> str:
        shortcut = conv_bn(f"{block}_branch1", x, 4 * width, 1, stride=stride) if projected else x
        y = conv_bn(f"{block}_branch2a", x, width, 1, stride=stride)
        y = d.relu(f"res{block}_branch2a_relu", y)
        y = conv_bn(f"{block}_branch2b", y, width, 3, pad=1)
        y = d.relu(f"res{block}_branch2b_relu", y)
        y = conv_bn(f"{block}_branch2c", y, 4 * width, 1)
        y = d.layer("Eltwise", f"res{block}", [shortcut, y], f"res{block}")
        return d.relu(f"res{block}_relu", y)

    x = d.convolution("conv1", "data", 64, 7, pad=3, stride=2)
    x = d.relu("conv1_relu", d.batch_norm("bn_conv1", "scale_conv1", x))
    x = d.max_pool("pool1", x, 3, 2)
    for stage, (depth, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=2):
        for i in range(depth):
            stride = 2 if i == 0 and stage > 2 else 1
            x = bottleneck(f"{stage}{'abcdef'[i]}", x, width, stride, projected=i == 0)
    x = d.average_pool("pool5", x, kernel_size=7, stride=1)
    d.softmax(d.inner_product("fc1000", x, 1000))
    return d.text()


def squeezenet() -> str:
    """Return SqueezeNet 1.1: fully convolutional, so any image size will do."""
    d = Definition("SqueezeNet_v1.1", 1, 3, 227, 227)

    def fire(block: str, x: str, squeeze: int, expand: int) -> str:
        def conv_relu(branch: str, x: str, outputs: int, kernel: int, **param: Value) -> str:
            y = d.convolution(f"{block}/{branch}", x, outputs, kernel, **param)
            return d.relu(f"{block}/relu_{branch}", y)

        x = conv_relu("squeeze1x1", x, squeeze, 1)
        wide = [conv_relu("expand1x1", x, expand, 1), conv_relu("expand3x3", x, expand, 3, pad=1)]
        return d.layer("Concat", f"{block}/concat", wide, f"{block}/concat")

    x = d.relu("relu_conv1", d.convolution("conv1", "data", 64, 3, stride=2))
    x = d.max_pool("pool1", x, 3, 2)
    x = fire("fire2", x, 16, 64)
    x = fire("fire3", x, 16, 64)
    x = d.max_pool("pool3", x, 3, 2)
    x = fire("fire4", x, 32, 128)
    x = fire("fire5", x, 32, 128)
    x = d.max_pool("pool5", x, 3, 2)
    x = fire("fire6", x, 48, 192)
    x = fire("fire7", x, 48, 192)
    x = fire("fire8", x, 64, 256)
    x = fire("fire9", x, 64, 256)
    x = d.dropout("drop9", x, 0.5)
    x = d.relu("relu_conv10", d.convolution("conv10", x, 1000, 1))
    d.softmax(d.average_pool("pool10", x, global_pooling=True))
    return d.text()


# name, channels of the pointwise convolution, stride of the depthwise one
_SEPARABLE = [
    ("conv2_1", 64, 1),
    ("conv2_2", 128, 2),
    ("conv3_1", 128, 1),
    ("conv3_2", 256, 2),
    ("conv4_1", 256, 1),
    ("conv4_2", 512, 2),
    *((f"conv5_{i}", 512, 1) for i in range(1, 6)),
    ("conv5_6", 1024, 2),
    ("conv6", 1024, 1),
]


def mobilenet() -> str:
    """Return MobileNet v1, width 1: a depthwise convolution is a Convolution with one group per channel."""
    d = Definition("MOBILENET", 1, 3, 224, 224)

    def conv_bn_relu(name: str, x: str, outputs: int, kernel: int, **param: Value) -> str:
        y = d.convolution(name, x, outputs, kernel, **param, bias_term=False)
        d.batch_norm(f"{name}/bn", f"{name}/scale", y)
        return d.relu(name.replace("conv", "relu", 1), y)

    x, channels = conv_bn_relu("conv1", "data", 32, 3, pad=1, stride=2), 32
    for name, outputs, stride in _SEPARABLE:
        x = conv_bn_relu(f"{name}/dw", x, channels, 3, pad=1, stride=stride, group=channels)
        x, channels = conv_bn_relu(f"{name}/sep", x, outputs, 1), outputs
    x = d.average_pool("pool6", x, global_pooling=True)
    d.softmax(d.convolution("fc7", x, 1000, 1))
    return d.text()


MODELS: dict[str, Callable[[], str]] = {
    "alexnet": alexnet,
    "caffenet": caffenet,
    "googlenet": googlenet,
    "lenet": lenet,
    "mobilenet_v1": mobilenet,
    "resnet50": resnet50,
    "squeezenet_v1.1": squeezenet,
    "vgg16": vgg16,
}


def main() -> None:
    """Print the models that are named, or rewrite all files."""
    for name in sys.argv[1:]:
        sys.stdout.write(MODELS[name]())
    if sys.argv[1:]:
        return
    folder = Path(__file__).parent
    for name, definition in MODELS.items():
        (folder / f"{name}.prototxt").write_text(definition())


if __name__ == "__main__":
    main()
