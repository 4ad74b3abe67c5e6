"""EfficientNet-Lite as ONNX graphs whose weights stay in the .pth file they were published in.

The network is described once (`Variant`, `build`), and written by one of two writers: `Float`, which takes weights as
they are, and `Quantized`, which has the engine quantize them when it loads the graph. Folding of batch
normalization, scales and rounding are constant subgraphs over the weights, so the graph holds no weight either; what it
does hold are the ranges of activations (calibrate.py).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from torch_file import Tensor

OPSET, IR_VERSION = 13, 8  # read by ONNX Runtime 1.17 and later
BATCH = 1  # more gains nothing on a CPU, and a known shape lets the engine plan its memory once
CLASSES = 1000
EPSILON = 1e-3  # of batch normalization, as the weights were trained
ACTIVATION_MAX = 6.0  # of ReLU6

# Of every stage: repeats, kernel, stride, expansion, channels out; the first and the last do not grow in depth.
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]


@dataclass(frozen=True)
class Variant:
    """What the members of the family differ in."""

    width: float
    depth: float
    side: int  # of the input, pixels

    def channels(self, base: int) -> int:
        """Channels of a stage: multiples of 8, and never less than nine tenths of what was asked for."""
        scaled = base * self.width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded


VARIANTS = {"lite0": Variant(1.0, 1.0, 224), "lite2": Variant(1.1, 1.2, 260)}


@dataclass(frozen=True)
class Conv:
    """A convolution with the batch normalization behind it."""

    name: str  # of its tensors in the .pth
    norm: str
    kernel: int
    stride: int
    depthwise: bool
    activation: bool


@dataclass(frozen=True)
class Block:
    name: str
    convs: tuple[Conv, ...]
    residual: bool  # its input is added to its output


STEM = Conv("_conv_stem", "_bn0", 3, 2, depthwise=False, activation=True)
HEAD = Conv("_conv_head", "_bn1", 1, 1, depthwise=False, activation=True)


def blocks(variant: Variant) -> Iterator[Block]:
    number, channels_in = 0, 32  # the stem's, which does not grow in width
    for stage, (repeats, kernel, stride, expansion, base) in enumerate(STAGES):
        inner = 0 < stage < len(STAGES) - 1
        channels_out = variant.channels(base)
        for repeat in range(math.ceil(repeats * variant.depth) if inner else repeats):
            name, step = f"_blocks.{number}", stride if repeat == 0 else 1
            convs = [
                Conv(f"{name}._expand_conv", f"{name}._bn0", 1, 1, depthwise=False, activation=True),
                Conv(f"{name}._depthwise_conv", f"{name}._bn1", kernel, step, depthwise=True, activation=True),
                Conv(f"{name}._project_conv", f"{name}._bn2", 1, 1, depthwise=False, activation=False),
            ]
            residual = step == 1 and channels_in == channels_out
            yield Block(name, tuple(convs if expansion > 1 else convs[1:]), residual)
            number, channels_in = number + 1, channels_out


def same_padding(side: int, kernel: int, stride: int) -> tuple[int, int, int]:
    """TensorFlow's SAME: before, after, and the side that comes out. Where the sum is odd, more comes after."""
    out = math.ceil(side / stride)
    total = max((out - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2, out


class Writer:
    """Collects nodes and initializers. A value is the name of what a node gives."""

    def __init__(self, variant: Variant, tensors: dict[str, Tensor], location: str):
        self.variant, self.tensors, self.location = variant, tensors, location
        self.nodes, self.initializers = [], {}
        self.side = variant.side  # of the feature map that was written last

    def op(self, kind: str, *inputs: str, out: str = "", **attributes) -> str:
        out = out or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], name=out, **attributes))
        return out

    def constant(self, name: str, kind: int, values, shape=()) -> str:
        if name not in self.initializers:
            self.initializers[name] = helper.make_tensor(name, kind, shape, np.ravel(values).tolist())
        return name

    def number(self, value: float) -> str:
        return self.constant(f"{value:g}", TensorProto.FLOAT, [value])

    def weight(self, name: str) -> str:
        """A tensor of the .pth, as it lies there: place and shape, no data."""
        tensor = self.tensors[name]
        proto = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=tensor.shape)
        proto.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.location), ("offset", tensor.offset), ("length", tensor.length)):
            proto.external_data.add(key=key, value=str(value))
        self.initializers[name] = proto
        return name

    def kernels(self, conv: Conv) -> str:
        """A convolution's weights in ONNX's order, OIHW."""
        name = f"{conv.name}.weight"
        return self.op("Transpose", self.weight(name), perm=self.tensors[name].order)

    def norm(self, conv: Conv) -> list[str]:
        return [self.weight(f"{conv.norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]

    def convolve(self, conv: Conv, *inputs: str) -> str:
        before, after, self.side = same_padding(self.side, conv.kernel, conv.stride)
        group = self.tensors[f"{conv.norm}.weight"].shape[0] if conv.depthwise else 1
        return self.op(
            "Conv",
            *inputs,
            kernel_shape=[conv.kernel] * 2,
            strides=[conv.stride] * 2,
            pads=[before, before, after, after],
            group=group,
        )

    def model(self, name: str) -> onnx.ModelProto:
        unused = self.tensors.keys() - self.initializers.keys()
        if unused:
            raise ValueError(f"{self.location} has tensors that the graph does not use: {sorted(unused)}")
        side = self.variant.side
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [BATCH, 3, side, side])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [BATCH, CLASSES])
        graph = helper.make_graph(self.nodes, name, [image], [logits], initializer=list(self.initializers.values()))
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], producer_name="bellows", ir_version=IR_VERSION)


class Float(Writer):
    """Weights as they are. `ranges` collects where each activation is, for calibration: name to value."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.ranges: dict[str, str] = {}

    def image(self) -> str:
        return "image"

    def conv(self, x: str, conv: Conv) -> str:
        x = self.convolve(conv, x, self.kernels(conv))
        x = self.op("BatchNormalization", x, *self.norm(conv), epsilon=EPSILON)
        if conv.activation:
            x = self.op("Clip", x, self.number(0.0), self.number(ACTIVATION_MAX))
        self.ranges[conv.name] = x
        return x

    def add(self, x: str, y: str, block: Block) -> str:
        x = self.ranges[block.name] = self.op("Add", x, y)
        return x

    def classify(self, x: str) -> str:
        x = self.ranges["pool"] = self.op("GlobalAveragePool", x)
        x = self.op("Flatten", x, axis=1)
        return self.op("Gemm", x, self.weight("_fc.weight"), self.weight("_fc.bias"), out="logits")


class Quantized(Writer):
    """Weights as integers of up to `weight_max` either side of zero, a scale a channel; activations as uint8, a scale a
    tensor.

    A range that ends inside ReLU6's does ReLU6's work: rounding to uint8 saturates at both its ends. `offset` makes the
    weights unsigned: the same network, for which engines have only kernels that add in 32 bits, exact and slower.
    """

    def __init__(self, *arguments, ranges: dict[str, tuple[float, float]], weight_max: int, offset: int = 0):
        super().__init__(*arguments)
        self.ranges, self.weight_max, self.offset = ranges, weight_max, offset
        self.scales: dict[str, str] = {}  # of a quantized value

    def activation(self, x: str, name: str) -> str:
        low, high = self.ranges[name]
        low, high = min(low, 0.0), max(high, 0.0)  # zero is always a step: padding needs it
        step = (high - low) / 255
        scale = self.constant(f"{name}.scale", TensorProto.FLOAT, [step])
        zero = self.constant(f"{name}.zero", TensorProto.UINT8, [round(-low / step)])
        x = self.op("DequantizeLinear", self.op("QuantizeLinear", x, scale, zero), scale, zero)
        self.scales[x] = scale
        return x

    def quantized_weight(self, weight: str, channels: int, axis: int, rank: int) -> tuple[str, str]:
        """The weight as the engine will have it, and its scales."""
        largest = self.op("ReduceMax", self.op("Abs", weight), axes=[a for a in range(rank) if a != axis], keepdims=0)
        # A channel of zeros would have no scale.
        scale = self.op("Div", self.op("Max", largest, self.number(1e-12)), self.number(float(self.weight_max)))
        kind = TensorProto.UINT8 if self.offset else TensorProto.INT8
        zero = self.constant(f"zeros_{channels}", kind, [self.offset] * channels, [channels])
        steps = self.op("QuantizeLinear", weight, scale, zero, axis=axis)
        return self.op("DequantizeLinear", steps, scale, zero, axis=axis), scale

    def quantized_bias(self, bias: str, x: str, weight_scale: str) -> str:
        scale = self.op("Mul", weight_scale, self.scales[x])
        steps = self.op("Cast", self.op("Round", self.op("Div", bias, scale)), to=TensorProto.INT32)
        return self.op("DequantizeLinear", steps, scale, axis=0)

    def image(self) -> str:
        return self.activation("image", "image")

    def conv(self, x: str, conv: Conv) -> str:
        gain, shift, mean, variance = self.norm(conv)
        channels = self.tensors[gain].shape[0]
        gain = self.op("Div", gain, self.op("Sqrt", self.op("Add", variance, self.number(EPSILON))))
        bias = self.op("Sub", shift, self.op("Mul", mean, gain))
        shape = self.constant(f"per_{channels}", TensorProto.INT64, [channels, 1, 1, 1], [4])
        kernels = self.op("Mul", self.kernels(conv), self.op("Reshape", gain, shape))
        weight, scale = self.quantized_weight(kernels, channels, axis=0, rank=4)
        x = self.convolve(conv, x, weight, self.quantized_bias(bias, x, scale))
        return self.activation(x, conv.name)

    def add(self, x: str, y: str, block: Block) -> str:
        return self.activation(self.op("Add", x, y), block.name)

    def classify(self, x: str) -> str:
        x = self.activation(self.op("GlobalAveragePool", x), "pool")
        # Once more behind Flatten: the engine makes one integer Gemm only of neighbours.
        x = self.activation(self.op("Flatten", x, axis=1), "pool")
        weight, scale = self.quantized_weight(self.weight("_fc.weight"), CLASSES, axis=1, rank=2)
        bias = self.quantized_bias(self.weight("_fc.bias"), x, scale)
        return self.op("Gemm", x, weight, bias, out="logits")


def build(writer: Float | Quantized, name: str) -> onnx.ModelProto:
    """The network, written by `writer`."""
    x = writer.conv(writer.image(), STEM)
    for block in blocks(writer.variant):
        y = x
        for conv in block.convs:
            y = writer.conv(y, conv)
        x = writer.add(y, x, block) if block.residual else y
    writer.classify(writer.conv(x, HEAD))
    return writer.model(name)
