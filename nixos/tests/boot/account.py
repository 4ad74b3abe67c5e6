"""What Terraform would have made, in an emulator of AWS on the host's loopback: queues, buckets, a launch template; and the
user data that says so, as an instance is handed it."""

import os
import pathlib
import subprocess

from machine import HOST, with_parent

ROOT = pathlib.Path(__file__).resolve().parents[3]
REGION = "us-east-1"
QUEUES = ("request", "response", "terminate_request", "terminate_confirm", "dead")
KEYS = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": REGION}
# an instance's role, as the metadata service gives it out
ROLE = "bellows"
CREDENTIALS = (
    '{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "none", "SecretAccessKey": "none", "Token": "none", '
    '"LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z"}'
)


class Account:
    def __init__(self):
        program = ROOT / "src/tests/aws/emulator.py"
        self.process = subprocess.Popen(
            [ROOT / "target/moto/bin/python", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **KEYS},
            preexec_fn=with_parent,
        )
        self.port = int(self.process.stdout.readline())
        here = f"http://127.0.0.1:{self.port}"
        import boto3  # the emulator's own environment has it

        self.sqs, self.s3, self.ec2 = (
            boto3.client(
                name, endpoint_url=here, region_name=REGION, aws_access_key_id="none", aws_secret_access_key="none"
            )
            for name in ("sqs", "s3", "ec2")
        )
        for name in QUEUES:
            self.sqs.create_queue(QueueName=name)
        for name in ("input", "output"):
            self.s3.create_bucket(Bucket=f"bellows-{name}")
        image = self.ec2.register_image(Name="app", RootDeviceName="/dev/xvda")["ImageId"]
        self.template = self.ec2.create_launch_template(
            LaunchTemplateName="app", LaunchTemplateData={"ImageId": image, "InstanceType": "c7i.large"}
        )["LaunchTemplate"]["LaunchTemplateId"]
        self.subnet = sorted(subnet["SubnetId"] for subnet in self.ec2.describe_subnets()["Subnets"])[0]

    def user_data(self, role):
        endpoint = f"http://{HOST}:{self.port}"
        urls = "\n".join(f'{name} = "http://{HOST}:{self.port}/123456789012/{name}"' for name in QUEUES)
        web = f'launch_template = "{self.template}"\ninstance_types = ["c7i.large"]\nsubnets = ["{self.subnet}"]\n'
        return f"""
role = "{role}"
[queue.urls]
{urls}
[bucket]
input = "bellows-input"
output = "bellows-output"
[aws]
region = "{REGION}"
endpoint = "{endpoint}"
{web if role == "web" else ""}
[web]
allow_anonymous = true
wait = "20m"
[pool]
max_instances = 1
# "deadline" keeps an instance for about as long as boots take, which is minutes here
policy = "backlog"
hold = "10s"
boot_prior = "5m"
[app]
job_deadline = "2m"
"""

    def told(self, role, instance, **more):
        """What an instance's metadata service tells."""
        return {
            "user-data": self.user_data(role),
            "meta-data/instance-id": instance,
            "meta-data/instance-life-cycle": "on-demand",
            "meta-data/placement/region": REGION,
            "meta-data/iam/security-credentials/": ROLE,
            f"meta-data/iam/security-credentials/{ROLE}": CREDENTIALS,
            "meta-data/iam/security-credentials-extended/": ROLE,
            f"meta-data/iam/security-credentials-extended/{ROLE}": CREDENTIALS,
            **more,
        }

    def launched(self):
        """The live instances: their ids and tags."""
        found = self.ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}])
        instances = [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]
        return {i["InstanceId"]: {tag["Key"]: tag["Value"] for tag in i.get("Tags", [])} for i in instances}

    def off(self):
        self.process.kill()
        self.process.wait()
