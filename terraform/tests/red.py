#!/usr/bin/env python3
"""Breaks a copy of the configuration, a fault at a time, and shows that `terraform test` goes red at it.

Needs terraform (the provider is found as .ci/terraform does). Prints a line a fault; ends with 1 if one goes unseen.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
WORK = HERE.parent / "target" / "terraform-red"

# what is broken: file, what is there, what takes its place, the run that must fail
FAULTS = {
    "a wildcard action": ("iam.tf", '["s3:PutObject", "s3:DeleteObject"]', '["s3:*"]', "no_wildcards"),
    "a wildcard resource": ("iam.tf", '"${aws_s3_bucket.main["input"].arn}/*"', '"*"', "no_wildcards"),
    "ending any instance": (
        "iam.tf",
        'Condition = { StringEquals = { "aws:ResourceTag/bellows:pool" = var.name } }',
        "",
        "no_wildcards",
    ),
    "an access key in the state": (
        "iam.tf",
        "# What each tier may do",
        'resource "aws_iam_access_key" "k" {\n  user = "u"\n}\n# What each tier may do',
        "no_keys",
    ),
    "anonymous access from 0.0.0.0/0": (
        "variables.tf",
        '!var.allow_anonymous || alltrue([for cidr in var.client_cidrs : try(tonumber(split("/", cidr)[1]) >= 8, true)])',
        "var.allow_anonymous || true",
        "everybody_may_upload",
    ),
    "a token itself in a variable": ("variables.tf", ':sha256:[0-9a-f]{64}', "", "a_token_itself_is_refused"),
    "IMDSv1 in the app tier": ("app_tier.tf", '= "required"', '= "optional"', "metadata_version_2"),
    "IMDSv1 in the web tier": ("webtier.tf", '= "required"', '= "optional"', "metadata_version_2"),
    "a NAT gateway": (
        "network.tf",
        'resource "aws_internet_gateway"',
        'resource "aws_nat_gateway" "n" {\n  subnet_id         = "subnet-00000000000000001"\n'
        '  connectivity_type = "private"\n}\nresource "aws_internet_gateway"',
        "nothing_billed_by_the_hour_by_default",
    ),
    "a rule into the app tier": (
        "network.tf",
        'security_group_id = aws_security_group.web.id\n  description       = "Clients"',
        'security_group_id = aws_security_group.app.id\n  description       = "Clients"',
        "who_reaches_what",
    ),
    "a queue in the clear": ("sqs.tf", "sqs_managed_sse_enabled    = true", "sqs_managed_sse_enabled = false", "encrypted_and_not_public"),
    "a name without prefix": ("sqs.tf", '"${var.name}-${queue}_queue"', '"${queue}_queue"', "another_deployment_beside_it"),
    "a pool that stops instead of ending": ("app_tier.tf", '= "terminate"', '= "stop"', "the_pool"),
}


def main():
    cli = subprocess.run([HERE.parent / ".ci/terraform-cli"], check=True, capture_output=True, text=True).stdout.strip()
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "TF_IN_AUTOMATION": "1"}
    if cli:
        environment["TF_CLI_CONFIG_FILE"] = cli
    terraform = lambda *a: subprocess.run(["terraform", f"-chdir={WORK}", *a, "-no-color"], env=environment, capture_output=True, text=True)
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.copytree(HERE, WORK, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "tests", "end_pool"))
    (WORK / "tests").mkdir()
    terraform("init", "-input=false")
    head, *runs = re.split(r'(?m)^(?=run ")', (HERE / "tests/infrastructure.tftest.hcl").read_text())
    runs = {re.match(r'run "(\w+)"', run).group(1): run for run in runs}
    unseen = 0
    for fault, (name, there, instead, run) in FAULTS.items():
        whole = (HERE / name).read_text()
        if there not in whole:
            sys.exit(f"{fault}: {name} has no {there!r}")
        (WORK / name).write_text(whole.replace(there, instead, 1))
        (WORK / "tests/one.tftest.hcl").write_text(head + runs[run])
        tested = terraform("test")
        red = f'run "{run}"... fail' in tested.stdout
        why = re.findall(r"(?m)^(?:Error: )?(A .*|An .*|Something .*|There .*|Missing expected.*)$", tested.stdout + tested.stderr)
        print(f"{'red ' if red else 'GREEN'} {fault}: {run}: {why[0] if why else tested.stdout + tested.stderr}", flush=True)
        unseen += not red
        (WORK / name).write_text(whole)
    print(f"{len(FAULTS) - unseen} of {len(FAULTS)} faults seen")
    sys.exit(unseen > 0)


main()
