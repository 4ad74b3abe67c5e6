"""Deploys terraform/ twice, side by side, into an emulated account, and takes both down, the first one under load.

    deploy.py [--bellows PROGRAM]      with the program, user data goes through its `check-config`

What is shown: a missing image is told with the command that makes it; apply; a second plan is empty; instances as they
should be; destroy while a controller launches and workers write leaves the other deployment as it was, and destroying
that one leaves nothing. Prints what took how long. Only the boot of instances is not there; nothing leaves loopback.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import account

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
LIMIT = 1200
# the exit code where terraform has no provider
NOT_TO_BE_HAD = 75
TOKEN = "kim:sha256:e799ff4ec45f4735e800019128421ad380c093974b24ee9a124f1ed9768d6867"


class Deployment:
    """A copy of terraform/ with a state of its own; one that is there is gone on with."""

    def __init__(self, folder, url, name, **variables):
        self.name, self.folder = name, folder / name
        if not self.folder.exists():
            self.copy(variables)
        cli = subprocess.run([ROOT / ".ci/terraform-cli"], check=True, capture_output=True, text=True).stdout.strip()
        self.environment = {
            **{key: value for key, value in os.environ.items() if key != "AWS_CA_BUNDLE" and not key.startswith("TF_VAR_")},
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            **({"TF_CLI_CONFIG_FILE": cli} if cli else {}),
        }

    def copy(self, variables):
        ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "tests", "*.log")
        shutil.copytree(ROOT / "terraform", self.folder, ignore=ignored)
        variables = {"name": self.name, "client_cidrs": ["203.0.113.0/24"], "tokens": [TOKEN], **variables}
        (self.folder / "test.auto.tfvars.json").write_text(json.dumps(variables))
        # after values.auto.tfvars, of which it takes the place
        (self.folder / "values.auto.tfvars").unlink()

    def run(self, *arguments):
        return subprocess.run(
            ["terraform", *arguments, "-no-color"],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL,
        )

    def terraform(self, *arguments, expected=0):
        began = time.monotonic()
        done = self.run(*arguments)
        took = time.monotonic() - began
        if done.returncode != expected:
            sys.exit(f"{self.name}: terraform {arguments[0]}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr}")
        if arguments[0] != "output":
            say(f"{self.name}: terraform {' '.join(a for a in arguments if a != '-input=false')}: {took:.0f} s")
        return done.stdout + done.stderr

    def init(self):
        done = self.run("init", "-input=false")
        if done.returncode != 0:
            say(f"the AWS provider cannot be had:\n{done.stdout}{done.stderr}")
            sys.exit(NOT_TO_BE_HAD)

    def apply(self):
        self.terraform("apply", "-input=false", "-auto-approve")

    def second_plan(self):
        # 2: there is something to change
        self.terraform("plan", "-input=false", "-detailed-exitcode")

    def outputs(self):
        return {name: output["value"] for name, output in json.loads(self.terraform("output", "-json")).items()}

    def destroy(self):
        self.terraform("destroy", "-input=false", "-auto-approve")


def say(what):
    print(what, flush=True)


def require(holds, what):
    if not holds:
        sys.exit(f"not so: {what}")
    say(f"holds: {what}")


def emulator():
    """Its URL, and the process, which ends when its standard input is closed."""
    process = subprocess.Popen([sys.executable, HERE / "emulator.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return f"http://127.0.0.1:{process.stdout.readline().strip()}", process


def load(name, bucket, stop, tally):
    """A controller that launches as long as its own instance lives, and workers that write as long as theirs do."""
    s3 = account.client("s3")
    while not stop.is_set():
        living = [i for i in account.living() if i["tags"].get("bellows:deployment") == name]
        roles = [i["tags"]["bellows:role"] for i in living]
        if "web" in roles and roles.count("app") < 20:
            tally["launched"] += len(account.launch(name, 3))
        if "app" in roles:
            s3.put_object(Bucket=bucket, Key=f"results/{time.monotonic_ns()}.json", Body=b"{}")
            tally["written"] += 1


def check_instances(deployments):
    for instance in account.instances():
        what = f"{instance['id']} ({instance['tags']['bellows:role']} of {instance['tags']['bellows:deployment']})"
        good = instance["http_tokens"] == "required" and instance["shutdown"] == "terminate" and instance["encrypted"] and all(instance["encrypted"])
        require(good, f"{what}: IMDSv2 only, powered off is terminated, disk encrypted")
    roles = sorted(i["tags"]["bellows:deployment"] for i in account.living() if i["tags"]["bellows:role"] == "web")
    require(roles == sorted(d.name for d in deployments), "one web instance a deployment")


def check_config(bellows, outputs):
    for tier in ("web", "app"):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(outputs[f"{tier}_config"])
            file.flush()
            done = subprocess.run([bellows, "check-config", "--config", file.name], capture_output=True, text=True)
        require(done.returncode == 0, f"the {tier} tier's user data is a configuration of the daemon {done.stderr}".strip())


def side_by_side(folder, url, bellows):
    certificate = account.client("acm").request_certificate(DomainName="images.example.org")["CertificateArn"]
    first = Deployment(folder, url, "bellows")
    second = Deployment(
        folder, url, "second", private=True, certificate_arn=certificate, hostname="images.example.org", spot=True,
        ssh_public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl kim",
        ssh_cidrs=["203.0.113.0/24"], metrics_cidrs=["203.0.113.0/24"], min_instances=1,
        settings={"pool": {"policy": "deadline"}, "app": {"pause": "2s"}},
    )
    both = [first, second]
    for deployment in both:
        deployment.init()
    told = first.terraform("plan", "-input=false", expected=1)
    require("nix run .#publish -- --region us-east-1" in told, "a missing image is told with the command that makes it")
    account.images()
    with ThreadPoolExecutor() as pool:
        list(pool.map(Deployment.apply, both))
        list(pool.map(Deployment.second_plan, both))
    say("holds: both second plans are empty")
    outputs = first.outputs()
    if bellows:
        check_config(bellows, outputs)
        check_config(bellows, second.outputs())
    account.launch("bellows", 5)
    account.launch("second", 2)
    check_instances(both)
    first_left = [thing for thing in account.left() if "second" in thing]

    stop, tally = threading.Event(), {"launched": 5, "written": 0}
    writer = threading.Thread(target=load, args=("bellows", outputs["output_bucket_name"], stop, tally), daemon=True)
    writer.start()
    first.destroy()
    stop.set()
    writer.join()
    say(f"under load: {tally['launched']} app instances launched, {tally['written']} objects written until they were ended")
    require(tally["launched"] > 5 and tally["written"] > 0, "there was a load while it was destroyed")
    left = account.left()
    require([thing for thing in left if "second" in thing] == first_left, "the other deployment is as it was")
    require(not [thing for thing in left if "bellows-" in thing], "the first has left nothing that bears its name")
    second.second_plan()
    second.destroy()
    require(account.left() == [], "nothing is left in the account")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bellows", help="the program, for check-config")
    bellows = arguments.parse_args().bellows
    url, process = emulator()
    account.URL = url
    try:
        with tempfile.TemporaryDirectory() as folder:
            side_by_side(Path(folder), url, bellows)
    finally:
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    main()
