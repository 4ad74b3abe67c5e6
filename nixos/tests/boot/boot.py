"""The boot test's steps. `run` says what they are and calls this with what it needs."""

import argparse
import base64
import json
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from account import Account
from image import BOOT, ROOT, Image
from machine import Machine

HERE = pathlib.Path(__file__).resolve().parent
# for a machine that others use as well: a boot takes 20 s where two cores emulate and nothing else runs
PATIENCE = 400
STARTED = r"Started bellows\.service"
EXPOSED_AT_MOST = 1.2


def say(text):
    print(f"{time.monotonic() - BEGUN:7.1f} s  {text}", flush=True)


def get(url, body=None, seconds=5):
    """Status and text; none where nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=seconds) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError:
        return None


def until(what, seconds, look):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}")


def reporting(script):
    """A unit that comes along in SMBIOS and speaks on the console: the image is the one that is published."""
    encoded = base64.b64encode(f"{script}\ntell end .\n".encode()).decode()
    unit = (HERE / "report.service").read_text().replace("@script@", encoded)
    return {"credentials": {"systemd.extra-unit.report.service": unit}, "extra": "systemd.wants=report.service"}


def reported(machine, seconds=PATIENCE):
    """What the unit has told, by name."""
    machine.wait(r"report\|end\|", seconds)
    return dict(re.findall(r"report\|([a-z-]+)\|(.*?)\|", machine.text()))


def check_report(name, told, ports):
    say(f"{name}: {json.dumps(told)}")
    assert told["root"] == "tmpfs", told
    assert told["usr"].startswith("erofs ro") and told["store"].startswith("erofs ro"), told
    assert told["usr-written"] == "no" and told["store-written"] == "no", told
    assert told["verity"] == "/dev/mapper/usr" and told["verity-status"] == "V", told
    assert told["listening"].split() == ports, f"{name} listens on {told['listening']!r}, not on {ports}"
    assert float(told["exposure"]) <= EXPOSED_AT_MOST, told
    assert told["capabilities"] == "0000000000000000" and told["no-new-privileges"] == "1", told
    assert told["seccomp"] == "2" and int(told["user"]) >= 61184, told
    assert told["failed"].strip() == "", told


def make(role, name):
    return Image(HERE / f"evaluated/{role}.json", BOOT / f"images/{name}.raw", BOOT / "daemon").build()


def make_both():
    images = {role: make(role, role) for role in ("web", "app")}
    for role, told in images.items():
        mib = {key: round(told[key] / 2**20, 1) for key in ("bytes", "uki_bytes", "initrd_bytes")}
        store = round(told["partitions"]["usr-x86-64"][1] / 2**20, 1)
        say(f"{role} image: {mib['bytes']} MiB (store {store}, kernel image {mib['uki_bytes']}), sha256 {told['sha256']}")
    return images


def build():
    for role, first in make_both().items():
        second = make(role, f"{role}-again")
        assert second["sha256"] == first["sha256"], f"two builds of {role} differ"
        (BOOT / f"images/{role}-again.raw").unlink()
    say("built again: the same sha256, both")


def times(machine, told):
    """Where the time to READY went; the machine's own clock counts from the kernel's start."""
    kernel = machine.at("EFI stub: Loaded initrd")
    say(
        f"{machine.name}: firmware {kernel} s, kernel start to READY {int(told['ready-us']) / 1e6:.1f} s by its clock, "
        f"{machine.at(STARTED) - kernel:.1f} s by the host's; {told['time']}; {told['blame']}"
    )


def boot_web(account, script):
    told = account.told("web", "i-0000000000000001")
    web = Machine("web", BOOT / "images/web.raw", told, **reporting(script))
    web.wait(STARTED, PATIENCE)
    return web


def label(account, web, photograph):
    """Posts to port 3000, boots what the controller launches: the answer, and the app guest."""
    answers = []
    url = f"http://127.0.0.1:{web.port}/"
    until("the web guest takes uploads", PATIENCE, lambda: (get(f"{url}readyz") or (0,))[0] == 200)
    say("the web guest takes uploads")
    photo = pathlib.Path(photograph).read_bytes()
    upload = threading.Thread(target=lambda: answers.append(get(f"{url}classify/photo.jpg", photo, 1500)), daemon=True)
    upload.start()
    launched = until("the controller launches", PATIENCE, account.launched)
    ((instance, tags),) = launched.items()
    say(f"the controller launched {instance}")
    more = {f"meta-data/tags/instance/{key}": value for key, value in tags.items()}
    told = account.told("app", instance, **{"meta-data/ami-launch-index": "0"}, **more)
    app = Machine("app", BOOT / "images/app.raw", told, **reporting(REPORT))
    request = {"QueueUrl": account.sqs.get_queue_url(QueueName="request")["QueueUrl"]}
    in_hand = {**request, "AttributeNames": ["ApproximateNumberOfMessagesNotVisible"]}
    count = "ApproximateNumberOfMessagesNotVisible"
    until("the app guest takes the request", PATIENCE, lambda: account.sqs.get_queue_attributes(**in_hand)["Attributes"][count] != "0")
    taken = time.monotonic() - app.started
    upload.join(PATIENCE)
    assert answers and answers[0], f"the upload got no answer: {BOOT}/run"
    kernel = app.at("EFI stub: Loaded initrd")
    say(f"app: kernel start to first receive {taken - kernel:.1f} s, to the answer {time.monotonic() - app.started - kernel:.1f} s")
    return answers[0], app


def tamper(account):
    """One bit of the store is another."""
    image, bad = BOOT / "images/app.raw", BOOT / "images/tampered.raw"
    data = bytearray(image.read_bytes())
    offset, _ = json.loads(image.with_suffix(".json").read_text())["partitions"]["usr-x86-64"]
    data[offset + 1024] ^= 1
    bad.write_bytes(data)
    machine = Machine("tampered", bad, account.told("app", "i-0000000000000003"))
    try:
        _, _, found = machine.wait(r"verity: .*corrupted.*", PATIENCE, refuse=STARTED)
        time.sleep(5)
        assert machine.at(STARTED) is None, "a changed store got ready"
        say(f"one bit of the store changed: {found.group(0)!r}, never ready")
    finally:
        machine.off()
        bad.unlink()


def stages(account, photograph, expected):
    web = boot_web(account, REPORT + KILL)
    app = None
    try:
        told = reported(web)
        check_report("web", told, ["0.0.0.0:3000", "127.0.0.1:9464"])
        assert told["restarted"] == "yes", told
        say("web: kill -9 of the daemon: systemd started it anew")
        times(web, told)
        answer, app = label(account, web, photograph)
        assert answer[0] == 200 and expected in answer[1], f"{answer} instead of {expected!r}"
        say(f"the photograph's label: {answer[1].strip()!r}")
        told = reported(app)
        check_report("app", told, [])
        times(app, told)
        until("the app guest powers off", PATIENCE, lambda: app.process.poll() is not None)
        app.reader.join()
        assert app.process.returncode == 0 and "reboot: Power down" in app.text(), app.folder
        say("nothing to do any more: the app guest retired and powered itself off")
        until("the controller ends the instance", PATIENCE, lambda: not account.launched())
        say("the controller ended its instance")
    finally:
        for machine in filter(None, (web, app)):
            machine.off()


def stand_still(account):
    """SIGSTOP: the watchdog finds a process that stands still."""
    web = boot_web(account, REPORT + STOP)
    try:
        told = reported(web)
        assert told["restarted"] == "yes", told
        _, _, found = web.wait(r"Watchdog timeout.*", 1)
        say(f"web: SIGSTOP of the daemon: {found.group(0)!r}, systemd started it anew")
    finally:
        web.off()


def hardening(account):
    """What of the unit is not as strict as it could be, each made so: the daemon does not get ready."""
    for name, (role, strict, sign) in STRICTER.items():
        told = account.told(role, "i-0000000000000004")
        told["user-data"] += "app_tier_id = 1\n" if role == "app" else ""
        drop_in = {"systemd.unit-dropin.bellows.service": f"[Service]\n{strict}\n"}
        machine = Machine(name, BOOT / f"images/{role}.raw", told, drop_in)
        try:
            _, _, found = machine.wait(sign, PATIENCE, refuse=STARTED)
            time.sleep(5)
            assert machine.at(STARTED) is None, f"{name} got ready all the same"
            say(f"{role} with {strict.split()[-1]!r}: {found.group(0)!r}")
        finally:
            machine.off()


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--daemon", required=True)
    parser.add_argument("--photograph", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--only", choices=list(STEPS), action="append")
    return parser.parse_args()


REPORT = (HERE / "report.sh").read_text()
RESTART = """
before=$(systemctl show -P MainPID bellows)
systemctl kill --kill-whom=main -s @signal@ bellows
again=no
for i in $(seq 600); do
  sleep 0.5
  now=$(systemctl show -P MainPID bellows)
  if [ "$now" != "$before" ] && [ "$now" != 0 ] && systemctl -q is-active bellows; then again=yes; break; fi
done
tell restarted $again
"""
KILL, STOP = (RESTART.replace("@signal@", signal) for signal in ("KILL", "STOP"))
BEGUN = time.monotonic()
# by name: the tier, what is stricter, and what is said then
STRICTER = {
    # systemd is told through a socket that it is ready
    "no-unix-sockets": (
        "web",
        "RestrictAddressFamilies=\nRestrictAddressFamilies=AF_INET AF_INET6",
        "Address family not supported.*systemd cannot be told",
    ),
    # the metadata service, queues and buckets are out of reach
    "no-network": ("app", "PrivateNetwork=yes", "bellows.service: .*code=exited, status=69"),
}
STEPS = {
    "build": lambda _, account: build(),
    "stages": lambda chosen, account: stages(account, chosen.photograph, chosen.label),
    "tamper": lambda _, account: tamper(account),
    "stand-still": lambda _, account: stand_still(account),
    "hardening": lambda _, account: hardening(account),
}


def main():
    chosen = parse()
    subprocess.run(["strip", "-o", BOOT / "daemon", chosen.daemon], check=True)
    (BOOT / "images").mkdir(exist_ok=True)
    only = chosen.only or ["build", "stages", "tamper"]
    passed = 0
    if "build" not in only:
        make_both()
    for name, step in STEPS.items():
        if name not in only:
            continue
        account = None if name == "build" else Account()
        try:
            step(chosen, account)
            passed += 1
        except Exception as e:
            say(f"{name} FAILED: {e!r}")
        finally:
            if account:
                account.off()
    print(f"boot: {passed} passed, {len(only) - passed} failed")
    sys.exit(passed != len(only))


if __name__ == "__main__":
    main()
