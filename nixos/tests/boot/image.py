#!/usr/bin/env python3
"""image.py EVALUATION OUT: the appliance's disk image, as nixpkgs' repart modules lay it out (one kernel image on the
ESP, the store as erofs behind dm-verity, root in memory), from the evaluated configuration and binaries of Debian.

The store has the paths of the evaluation: at those of the daemon, its configuration, model and engine lie the real ones;
those of NixOS's own packages are links to Debian's /usr. Two runs give the same bytes.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from closure import LOADER, Tree, archive

ROOT = pathlib.Path(__file__).resolve().parents[3]
BOOT = ROOT / "target/boot"
SYSTEMD = "usr/lib/systemd"
UNITS = f"{SYSTEMD}/system"
EPOCH = 1

# of the packages, what an appliance does not run
DROPPED = re.compile(
    r"autovt|bsod|battery|console-getty|container-getty|getty|cryptdisks|debug-shell|dev-(hugepages|mqueue)|ldconfig|"
    r"hwdb|ssh|homed|hostnamed|initctl|kexec|localed|logind|machined|machine-id-commit|networkd-persistent|pcr|pstore|"
    r"quotacheck|rc-local|rfkill|backlight|binfmt|boot-(clear|random|update)|firstboot|hibernate|journal-catalog|"
    r"ask-password|storagetm|sysext|confext|sys-(fs-fuse|kernel-(config|debug|tracing))|sysupdate|time(dated|sync)|tpm2|"
    r"update-done|user(-runtime-dir|@|dbd|-sessions)|systemd-creds|bluetooth|printer|rpcbind|sound|smartcard|usb-gadget|"
    r"tmp\.mount|run-lock|systemd-tmpfiles-clean|random-seed|network-generator|mountfsd|nsresource|repart|growfs"
)
INITRD_UNITS = re.compile(
    r"(initrd.*|basic|sysinit|sockets|slices|paths|timers|local-fs(-pre)?|swap|umount|shutdown|final|emergency|reboot|"
    r"poweroff|rescue|remote-fs(-pre)?|remote-(crypt|verity)setup|veritysetup(-pre)?|blockdev@|cryptsetup-pre|"
    r"systemd-(journald|udevd|udev-(trigger|settle)|modules-load|tmpfiles-setup-dev(-early)?|reboot|poweroff|sysctl).*|"
    r"kmod-static-nodes|modprobe@|system-systemd.*verity.*)\.\w+|emergency\.service"
)
INITRD_RULES = r"(50-udev-default|55-dm|60-block|60-persistent-storage(-dm)?|80-drivers|95-dm-notify|99-systemd)\.rules"
INITRD_PROGRAMS = [
    *(f"usr/bin/{name}" for name in ("systemctl", "systemd-tmpfiles", "udevadm", "mount", "umount", "kmod", "cp", "mkdir")),
    *(f"usr/sbin/{name}" for name in ("modprobe", "dmsetup")),
    *(f"{SYSTEMD}/{name}" for name in ("systemd", "systemd-executor", "systemd-journald", "systemd-udevd")),
    *(f"{SYSTEMD}/systemd-{name}" for name in ("modules-load", "shutdown", "sysctl", "sysroot-fstab-check", "veritysetup")),
    *(f"{SYSTEMD}/system-generators/systemd-{name}-generator" for name in ("fstab", "veritysetup")),
]
# what systemd loads once it needs it
LOADED = r"lib(acl|blkid|cap|crypt|cryptsetup|kmod|lz4|lzma|mount|nss_files|nss_systemd|seccomp|zstd)\.so\.\d+"


def write(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def toml(table, prefix=""):
    """A table of strings, numbers and tables."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += [f"[{prefix}{key}]", toml(value, f"{prefix}{key}.")]
    return "\n".join(lines)


class Image:
    def __init__(self, evaluation, out, daemon):
        self.evaluated = json.loads(pathlib.Path(evaluation).read_text())
        self.out, self.daemon = pathlib.Path(out).resolve(), pathlib.Path(daemon)
        self.debian = Tree(BOOT / "guest")
        self.work = self.out.with_suffix(".work")
        shutil.rmtree(self.work, ignore_errors=True)
        self.root, self.initrd, self.esp = (self.work / name for name in ("root", "initrd", "root/esp"))

    def build(self):
        self.lay_usr()
        self.lay_store()
        self.lay_etc()
        self.lay_initrd()
        self.definitions()
        self.out.unlink(missing_ok=True)
        self.normalise(self.root)
        (self.esp / "EFI/BOOT").mkdir(parents=True)
        parts = self.repart("--empty=create", "--size=auto", "--defer-partitions=esp")
        self.kernel_image(next(part["roothash"] for part in parts if part.get("roothash")))
        self.normalise(self.esp)
        self.repart("--empty=allow", "--size=auto")
        digest = hashlib.sha256(self.out.read_bytes()).hexdigest()
        uki = self.esp / "EFI/BOOT/BOOTX64.EFI"
        told = {
            "sha256": digest,
            "bytes": self.out.stat().st_size,
            "uki_bytes": uki.stat().st_size,
            "initrd_bytes": (self.work / "initrd.zst").stat().st_size,
            "partitions": {part["type"]: [part["offset"], part["raw_size"]] for part in parts},
        }
        self.out.with_suffix(".json").write_text(json.dumps(told, indent=1))
        shutil.rmtree(self.work)
        return told

    def module_names(self):
        # of a kernel that has as modules what NixOS's has built in
        return [*self.evaluated["initrdModules"], "virtio_pci", "crc32c_generic", "sha256_generic"]

    def lay_usr(self):
        tree = self.debian
        for folder in ("usr/bin", "usr/sbin", "usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/systemd", "usr/lib64"):
            tree.copy(tree.files(folder), self.root)
        tree.copy(tree.files(SYSTEMD), self.root)
        tree.copy(tree.files(f"{SYSTEMD}/system-generators", r"systemd-(debug|fstab|run|veritysetup)-generator"), self.root)
        tree.copy(tree.files("usr/lib/udev"), self.root)
        for folder in ("udev/rules.d", "sysctl.d", "modprobe.d"):
            tree.copy(tree.files(f"usr/lib/{folder}"), self.root)
        tree.copy(tree.files("usr/lib/tmpfiles.d", r"(systemd|static-nodes-permissions|tmp|var)\.conf"), self.root)
        for folder, _, _ in os.walk(tree.root / UNITS):
            here = os.path.relpath(folder, tree.root)
            if not DROPPED.search(here):
                tree.copy([f for f in tree.files(here) if not DROPPED.search(os.path.basename(f))], self.root)
        self.lay_modules(self.root / "usr")
        link(self.root / UNITS / "default.target", "multi-user.target")
        for unit in ("systemd-networkd.service", "systemd-networkd.socket"):
            link(self.root / UNITS / "multi-user.target.wants" / unit, f"../{unit}")

    def lay_modules(self, folder):
        tree = self.debian
        builtin = tree.files(tree.modules, r"modules\.(builtin|builtin\.modinfo|order)")
        for file in [*tree.module_files(self.module_names()), *builtin]:
            target = folder / file.removeprefix("usr/" if folder.name == "usr" else "")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree.root / file, target)
        depmod(folder, tree.kernel)

    def lay_store(self):
        real = {"bellows/bin/bellows": self.daemon}
        settings = self.evaluated["settings"]
        if "engine" in settings["model"]:
            data = ROOT / "target/bellows-data"
            (library,) = (data / "engine").glob("libonnxruntime.so.*")
            real["engine"] = library
            for file in (data / "models/efficientnet-lite0").iterdir():
                real[f"model/models/efficientnet-lite0/{file.name}"] = file
        store = self.root / "usr/nix/store"
        for name, file in real.items():
            first, *rest = name.split("/")
            target = store.joinpath(f"@{first}@", *rest)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            target.chmod(0o755 if name == "bellows/bin/bellows" else 0o444)
        write(store / "@bellows.toml@", toml(settings) + "\n", 0o444)
        for path in set(re.findall(r"/nix/store/(@[a-z-]+@)", self.evaluated["unit"])):
            if not os.path.lexists(store / path):
                link(store / path, "/usr")
        write(self.root / UNITS / "bellows.service", self.evaluated["unit"])
        for target in self.evaluated["wantedBy"]:
            link(self.root / UNITS / f"{target}.wants" / "bellows.service", "../bellows.service")
        # as the unit of NixOS has it, beside Debian's
        wait = "\n".join(f"ExecStart={line}" for line in self.evaluated["waitOnline"]).replace("/nix/store/@systemd@", "/usr")
        write(self.root / UNITS / "systemd-networkd-wait-online.service.d/nixos.conf", f"[Service]\n{wait}\n")
        link(
            self.root / UNITS / "network-online.target.wants/systemd-networkd-wait-online.service",
            "../systemd-networkd-wait-online.service",
        )

    def lay_etc(self):
        """What NixOS has as an overlay; here it is copied into the root, which is memory, before that is used."""
        etc = self.root / "usr/share/appliance-etc"
        for name, text in self.evaluated["networks"].items():
            write(etc / "systemd/network" / name, text)
        write(etc / "systemd/journald.conf", self.evaluated["journald"])
        write(etc / "resolv.conf", self.evaluated["resolv"])
        write(etc / "nsswitch.conf", "passwd: files systemd\ngroup: files systemd\nhosts: files dns\n")
        roots = sorted((self.debian.root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
        write(etc / "ssl/certs/ca-certificates.crt", "".join(root.read_text() for root in roots))
        write(etc / "hosts", "127.0.0.1 localhost\n")
        write(etc / "passwd", PASSWD)
        write(etc / "group", GROUP)
        write(etc / "shadow", "root:!*:1::::::\n", 0o600)
        write(etc / "machine-id", "")
        write(self.root / "usr/lib/os-release", 'ID=bellows-boot-test\nNAME="bellows boot test"\n')

    def lay_initrd(self):
        tree, initrd = self.debian, self.initrd
        loaded = tree.files("usr/lib/x86_64-linux-gnu", LOADED)
        rules = tree.files("usr/lib/udev/rules.d", INITRD_RULES)
        tree.copy(tree.closed([*INITRD_PROGRAMS, *loaded, *rules]), initrd)
        tree.copy([f for f in tree.files(UNITS) if INITRD_UNITS.fullmatch(os.path.basename(f))], initrd)
        for folder in (tree.root / UNITS).glob("*.wants"):
            if re.match(r"(sysinit|sockets|basic|local-fs|initrd)", folder.name):
                files = tree.files(str(folder.relative_to(tree.root)))
                tree.copy([f for f in files if INITRD_UNITS.fullmatch(os.path.basename(f))], initrd)
        for name, target in {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}.items():
            link(initrd / name, target)
        link(initrd / "init", f"{SYSTEMD}/systemd")
        self.lay_modules(initrd)
        for folder in ("dev", "proc", "sys", "run", "sysroot", "tmp", "var"):
            (initrd / folder).mkdir()
        write(initrd / "etc/initrd-release", "ID=bellows-boot-test\n")
        write(initrd / "etc/passwd", PASSWD)
        write(initrd / "etc/group", GROUP)
        write(initrd / "etc/machine-id", "")
        write(initrd / "etc/sysroot-fstab", self.evaluated["fstab"])
        write(initrd / "etc/modules-load.d/appliance.conf", "dm_verity\nerofs\n")
        environment = "PATH=/usr/bin:/usr/sbin SYSTEMD_SYSROOT_FSTAB=/etc/sysroot-fstab"
        write(initrd / "etc/systemd/system.conf", f"[Manager]\nManagerEnvironment={environment}\n")
        link(initrd / "etc/systemd/system/default.target", f"/{UNITS}/initrd.target")
        write(initrd / UNITS / "appliance-etc.service", ETC_SERVICE)
        link(initrd / UNITS / "initrd.target.wants/appliance-etc.service", "../appliance-etc.service")
        archive(initrd, self.work / "initrd.cpio")
        compress = [BOOT / "bin/zstd", "-q", "-f", "-12", "-T1", self.work / "initrd.cpio", "-o", self.work / "initrd.zst"]
        subprocess.run(compress, check=True)

    def definitions(self):
        sources = {"usr": "CopyFiles=/usr:/", "esp": "CopyFiles=/esp:/"}
        for name, values in self.evaluated["repart"].items():
            lines = [f"{key}={value}" for key, value in values.items()]
            source = sources.get(values["Type"].split("-")[0]) if values.get("Verity") != "hash" else None
            lines += [source] if source else []
            write(self.work / "definitions" / f"{name}.conf", "\n".join(["[Partition]", *lines, ""]))

    def environment(self):
        return {
            "PATH": f"{BOOT}/bin:{os.environ['PATH']}",
            "SOURCE_DATE_EPOCH": str(EPOCH),
            "TZ": "UTC",
            "SYSTEMD_REPART_MKFS_OPTIONS_EROFS": " ".join(self.evaluated["erofs"]),
            # firmware does not find a FAT with larger sectors
            "SYSTEMD_REPART_MKFS_OPTIONS_VFAT": "-S 512 --invariant",
        }

    def repart(self, *options):
        seed, sector = self.evaluated["seed"], self.evaluated["sectorSize"]
        command = [BOOT / "bin/systemd-repart", "--offline=yes", f"--seed={seed}", f"--sector-size={sector}"]
        command += [f"--definitions={self.work / 'definitions'}", f"--root={self.root}", "--dry-run=no", "--json=short"]
        done = subprocess.run([*command, *options, self.out], env=self.environment(), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"systemd-repart failed:\n{done.stderr}")
        return json.loads(done.stdout)

    def kernel_image(self, roothash):
        kernel = self.debian.root / f"boot/vmlinuz-{self.debian.kernel}"
        options = {
            "linux": kernel,
            "initrd": self.work / "initrd.zst",
            "cmdline": f"{' '.join(self.evaluated['kernelParams'])} usrhash={roothash}",
            "os-release": f"@{self.root / 'usr/lib/os-release'}",
            "uname": self.debian.kernel,
            "stub": BOOT / "tools/usr/lib/systemd/boot/efi/linuxx64.efi.stub",
            "output": self.esp / "EFI/BOOT/BOOTX64.EFI",
        }
        command = [BOOT / "bin/ukify", "build", *(f"--{name}={value}" for name, value in options.items())]
        subprocess.run(command, env=self.environment(), check=True, capture_output=True)

    @staticmethod
    def normalise(folder):
        for base, folders, files in os.walk(folder, topdown=False):
            for name in [*files, *folders, ""]:
                os.utime(os.path.join(base, name), (EPOCH, EPOCH), follow_symlinks=False)


def depmod(folder, kernel):
    """The index of the kernel modules in a folder, by Debian's own tool."""
    guest = BOOT / "guest"
    libraries = guest / "usr/lib/x86_64-linux-gnu"
    command = [guest / LOADER, "--library-path", libraries, "--argv0", "depmod", guest / "usr/bin/kmod", "-b", folder, kernel]
    subprocess.run(command, check=True)


NOLOGIN = "/:/usr/sbin/nologin"
PASSWD = f"root:x:0:0::{NOLOGIN}\nsystemd-network:x:152:152::{NOLOGIN}\nnobody:x:65534:65534::{NOLOGIN}\n"
# those that rules of udev name
GROUPS = "adm audio cdrom clock dialout disk input kmem kvm lp render sgx tape tty video systemd-journal".split()
GROUP = "root:x:0:\nsystemd-network:x:152:\nnogroup:x:65534:\n"
GROUP += "".join(f"{name}:x:{number}:\n" for number, name in enumerate(GROUPS, 10))

ETC_SERVICE = """\
[Unit]
Description=/etc of the verified store
DefaultDependencies=no
RequiresMountsFor=/sysroot/usr
After=initrd-root-fs.target initrd-usr-fs.target
Before=initrd-fs.target initrd-switch-root.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart=/usr/bin/mkdir -p /sysroot/etc
ExecStart=/usr/bin/cp -a /sysroot/usr/share/appliance-etc/. /sysroot/etc/
"""

if __name__ == "__main__":
    print(json.dumps(Image(sys.argv[1], sys.argv[2], sys.argv[3]).build()))
