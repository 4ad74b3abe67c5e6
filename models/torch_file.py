"""Where the tensors of a torch weights file (.pth, the format before 1.6) lie in it.

Storages lie in that file uncompressed, one after the other, behind four pickles. Nothing is unpickled but the few
names that a state dictionary needs, so a hostile file can run no code; torch is not needed.
"""

import collections
import math
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
ITEM_BYTES = {"FloatStorage": 4, "LongStorage": 8}
COLUMNS = "name\tshape\torder\toffset\tlength"


@dataclass(frozen=True)
class Tensor:
    """A tensor, as it lies in the file.

    `shape` is that of the bytes; `order` is the permutation (as ONNX's Transpose takes it) that makes torch's axes of
    them. The two differ for convolutions, whose weights were left in TensorFlow's order, HWIO.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    offset: int
    length: int


@dataclass
class Storage:
    kind: str
    items: int
    offset: int = 0


class StateDictionary(pickle.Unpickler):
    """Reads the pickles of one file; storages are remembered by key until their places are known."""

    def __init__(self, file):
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if module == "torch" and name in ITEM_BYTES:
            return type(name, (), {})
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")

    def persistent_load(self, pid):
        _, kind, key, _, items, _ = pid
        return self.storages.setdefault(key, Storage(kind.__name__, items))


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth by name."""
    with path.open("rb") as file:
        magic, protocol, system = (pickle.load(file) for _ in range(3))
        if (magic, protocol, system.get("little_endian")) != (MAGIC, PROTOCOL, True):
            raise ValueError(f"{path.name} is no little-endian torch file of the format before torch 1.6")
        reader = StateDictionary(file)
        state = reader.load()
        for key in pickle.load(file):
            storage = reader.storages[key]
            (items,) = struct.unpack("<q", file.read(8))
            if items != storage.items:
                raise ValueError(f"{path.name}: storage {key} has {items} items, its tensors say {storage.items}")
            storage.offset = file.tell()
            file.seek(items * ITEM_BYTES[storage.kind], 1)
        if file.read(1):
            raise ValueError(f"{path.name} goes on after its last storage")
    # Counters of training steps are the only integers; no graph needs them.
    return {name: place(*t) for name, t in state.items() if t[0].kind == "FloatStorage"}


def place(storage: Storage, first: int, shape, strides) -> Tensor:
    # Longest stride first is the order in memory. An axis of one item may have any stride: it goes to the front.
    axes = sorted(range(len(shape)), key=lambda axis: (shape[axis] != 1, -strides[axis]))
    run = 1
    for axis in reversed(axes):
        if shape[axis] != 1 and strides[axis] != run:
            raise ValueError(f"a tensor of shape {shape} and strides {strides} is not dense")
        run *= shape[axis]
    size = ITEM_BYTES[storage.kind]
    order = tuple(axes.index(axis) for axis in range(len(shape)))
    in_file = tuple(shape[a] for a in axes)
    return Tensor(in_file, order, storage.offset + first * size, math.prod(shape) * size)


def dump_table(tensors: dict[str, Tensor]) -> str:
    """The tensors as a table that is committed, so that graphs are built and checked without the weights."""
    words = lambda numbers: ",".join(map(str, numbers))
    rows = (f"{n}\t{words(t.shape)}\t{words(t.order)}\t{t.offset}\t{t.length}" for n, t in tensors.items())
    return "\n".join([COLUMNS, *rows]) + "\n"


def load_table(text: str) -> dict[str, Tensor]:
    header, *rows = text.splitlines()
    if header != COLUMNS:
        raise ValueError(f"expected a table of {COLUMNS.split()}")
    numbers = lambda word: tuple(map(int, word.split(",")))
    split = (row.split("\t") for row in rows)
    return {name: Tensor(numbers(s), numbers(o), int(at), int(length)) for name, s, o, at, length in split}
