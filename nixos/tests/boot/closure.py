"""Parts of an unpacked Debian, without running anything of it: files with what they link to, kernel modules with what
they need."""

import os
import pathlib
import re
import shutil
import struct

LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/systemd", "usr/lib/systemd", "usr/lib64")
LOADER = "usr/lib64/ld-linux-x86-64.so.2"
PT_DYNAMIC_SECTION = 6
DT_NEEDED = 1


def needed(path):
    """Names of the libraries that an ELF file asks for."""
    data = path.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        return []
    (offset,), (count,) = struct.unpack_from("<Q", data, 40), struct.unpack_from("<H", data, 60)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, offset + 64 * n) for n in range(count)]
    for section in sections:
        if section[1] == PT_DYNAMIC_SECTION:
            strings = sections[section[6]][4]
            entries = struct.iter_unpack("<qQ", data[section[4] : section[4] + section[5]])
            starts = [strings + value for tag, value in entries if tag == DT_NEEDED]
            return [data[start : data.index(b"\0", start)].decode() for start in starts]
    return []


class Tree:
    """An unpacked system, whose paths are relative to its root and begin with `usr` (it is merged)."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        (self.kernel,) = [p.name for p in (self.root / "usr/lib/modules").iterdir()]
        self.modules = f"usr/lib/modules/{self.kernel}"

    def library(self, name):
        for folder in LIBRARIES:
            if os.path.lexists(self.root / folder / name):
                return f"{folder}/{name}"
        raise FileNotFoundError(f"no {name} in {self.root}")

    def closed(self, paths):
        """The paths, what symbolic links among them point to, and every library."""
        todo, seen = [LOADER, *paths], set()
        while todo:
            path = todo.pop()
            if path in seen:
                continue
            seen.add(path)
            full = self.root / path
            if full.is_symlink():
                target = os.readlink(full)
                target = target.lstrip("/") if target.startswith("/") else os.path.join(os.path.dirname(path), target)
                todo.append(re.sub(r"^(s?bin|lib(64)?)/", r"usr/\1/", os.path.normpath(target)))
            elif full.is_file():
                todo.extend(self.library(name) for name in needed(full))
            elif not full.is_dir():
                raise FileNotFoundError(full)
        return seen

    def files(self, folder, pattern=".*"):
        """Files and links right in a folder whose names match."""
        entries = sorted((self.root / folder).iterdir()) if (self.root / folder).is_dir() else []
        named = [e for e in entries if re.fullmatch(pattern, e.name) and (e.is_symlink() or e.is_file())]
        return [str(e.relative_to(self.root)) for e in named]

    def module_files(self, names):
        """Files of kernel modules and of those they need; what is built in or not known to this kernel is none."""
        lines = (self.root / self.modules / "modules.dep").read_text().splitlines()
        depends = {}
        for line in lines:
            path, others = line.split(":")
            depends[pathlib.Path(path).name.split(".")[0].replace("-", "_")] = [path, *others.split()]
        wanted = [depends.get(name.replace("-", "_"), []) for name in names]
        return sorted({f"{self.modules}/{path}" for paths in wanted for path in paths})

    def copy(self, paths, into):
        for path in sorted(paths):
            target = pathlib.Path(into) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(target):
                shutil.copy2(self.root / path, target, follow_symlinks=False)


def archive(folder, into):
    """A cpio archive ("newc") that depends on nothing but names, contents and whether they may be executed."""
    out, number = bytearray(), 0

    def entry(name, mode, data):
        nonlocal number
        number += 1
        fields = (number, mode, 0, 0, 1, 1, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out.extend(b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0")
        out.extend(b"\0" * (-len(out) % 4) + data)
        out.extend(b"\0" * (-len(out) % 4))

    for path in sorted(pathlib.Path(folder).rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            entry(name, 0o120777, os.readlink(path).encode())
        elif path.is_dir():
            entry(name, 0o040755, b"")
        else:
            entry(name, 0o100755 if path.stat().st_mode & 0o100 else 0o100644, path.read_bytes())
    entry("TRAILER!!!", 0, b"")
    pathlib.Path(into).write_bytes(out)
