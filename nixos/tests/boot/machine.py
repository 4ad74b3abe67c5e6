"""A guest under QEMU: the image is its disk, read only as far as the file goes; a metadata service and the host's
loopback are its network."""

import base64
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
BOOT = HERE.parents[2] / "target/boot"
FIRMWARE = BOOT / "qemu/usr/share/OVMF"
ESCAPES = re.compile(r"\x1b\[[0-9;?=]*[a-zA-Z]")
# where a guest finds the loopback of the host
HOST = "169.254.169.2"


def has_kvm():
    """Whether the kernel's own acceleration is there; some nested kinds cannot run a stock kernel."""
    modules = [pathlib.Path(f"/sys/module/{name}") for name in ("kvm_intel", "kvm_amd")]
    return os.access("/dev/kvm", os.W_OK) and any(module.is_dir() for module in modules)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def with_parent():
    """QEMU ends with whoever started it."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Machine:
    """`told`: what its metadata service tells. `credentials`: what systemd finds in SMBIOS, where the image is not touched.
    `extra`: more of the kernel's command line."""

    def __init__(self, name, image, told, credentials=None, extra=""):
        self.name, self.port = name, free_port()
        self.folder = BOOT / "run" / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.metadata = self.folder / "metadata.json"
        self.asked = self.folder / "asked"
        self.asked.touch()
        self.tell(told)
        self.lines, self.changed = [], threading.Condition()
        self.started = time.monotonic()
        # ends of lines are where another thread says so
        self.process = subprocess.Popen(
            self.command(image, credentials or {}, extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=with_parent,
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def tell(self, told):
        self.metadata.write_text(json.dumps({**told, "log": str(self.asked)}))

    def command(self, image, credentials, extra):
        variables = self.folder / "variables.fd"
        shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", variables)
        service = f"{sys.executable} -I -S {HERE / 'metadata.py'} {self.metadata}"
        network = (
            "user,id=net,net=169.254.169.0/24,host=169.254.169.2,dns=169.254.169.253,dhcpstart=169.254.169.15,"
            f"hostfwd=tcp:127.0.0.1:{self.port}-:3000,guestfwd=tcp:169.254.169.254:80-cmd:{service}"
        )
        accelerated = ["-accel", "kvm", "-cpu", "host"] if has_kvm() else ["-accel", "tcg,thread=multi", "-cpu", "EPYC-v1"]
        command = [
            *(BOOT / "bin/qemu-system-x86_64", "-M", "q35,smm=off", *accelerated, "-smp", "2", "-m", "1024"),
            *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}"),
            *("-drive", f"if=pflash,unit=1,format=raw,file={variables}"),
            *("-drive", f"if=none,id=disk,format=raw,snapshot=on,file={image}"),
            *("-device", "nvme,drive=disk,serial=vol0,bootindex=1", "-netdev", network),
            *("-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"),
            *("-fw_cfg", "name=opt/org.tianocore/X-Cpuhp-Bugcheck-Override,string=yes"),
        ]
        values = [
            f"io.systemd.credential.binary:{name}={base64.b64encode(text.encode()).decode()}"
            for name, text in credentials.items()
        ]
        # an emulated timer on a busy host may be late, which the kernel takes for one that is broken
        values.append(f"io.systemd.stub.kernel-cmdline-extra=no_timer_check {extra}")
        for value in values:
            command += ["-smbios", f"type=11,value={value}"]
        return [str(part) for part in command]

    def read(self):
        with (self.folder / "console").open("w", encoding="utf-8") as log:
            for raw in self.process.stdout:
                line = ESCAPES.sub("", raw.decode("utf-8", "replace")).rstrip()
                at = time.monotonic() - self.started
                log.write(f"[{at:8.3f}] {line}\n")
                log.flush()
                with self.changed:
                    self.lines.append((at, line))
                    self.changed.notify_all()
        with self.changed:
            self.lines.append((time.monotonic() - self.started, "<the machine is off>"))
            self.changed.notify_all()

    def wait(self, pattern, seconds, since=0, refuse=None):
        """The first line from number `since` on in which the pattern is: its number, its time, the match."""
        deadline, number = time.monotonic() + seconds, since
        with self.changed:
            while True:
                while number < len(self.lines):
                    at, line = self.lines[number]
                    if match := re.search(pattern, line):
                        return number, at, match
                    if refuse and re.search(refuse, line):
                        raise AssertionError(f"{self.name}: {line!r} came before {pattern!r}")
                    if line == "<the machine is off>":
                        raise AssertionError(f"{self.name} went off before {pattern!r}: {self.folder}/console")
                    number += 1
                left = deadline - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    raise AssertionError(f"{self.name}: no {pattern!r} within {seconds} s: {self.folder}/console")

    def at(self, pattern):
        """When the pattern came, in seconds since the machine was switched on; none where it has not."""
        with self.changed:
            return next((round(at, 1) for at, line in self.lines if re.search(pattern, line)), None)

    def text(self):
        with self.changed:
            return "\n".join(line for _, line in self.lines)

    def off(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
