"""What a test does in the emulated account, and what it finds there.

    account.py URL images              registers an image of each tier, as the image build tags them; prints their ids
    account.py URL launch POOL N       launches N members of a pool as the controller does; prints their ids
    account.py URL fill BUCKET N       puts N objects
    account.py URL instances           prints who lives: id, state, tags, metadata options, shutdown behaviour
    account.py URL left                prints, sorted, everything that a deployment makes and that is still there
"""

import json
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import boto3

ROLE = "bellows:role"
GONE = ("terminated", "shutting-down")


def client(service):
    return boto3.client(
        service, endpoint_url=URL, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )


def images():
    ec2 = client("ec2")
    made = {}
    for role in ("web", "app"):
        tags = [{"Key": ROLE, "Value": role}]
        made[role] = ec2.register_image(
            Name=f"bellows-{role}-{uuid.uuid4().hex[:12]}",
            Architecture="x86_64",
            RootDeviceName="/dev/xvda",
            TagSpecifications=[{"ResourceType": "image", "Tags": tags}],
        )["ImageId"]
    return made


def launch(pool, count):
    ec2 = client("ec2")
    template = ec2.describe_launch_templates(LaunchTemplateNames=[f"{pool}-app"])["LaunchTemplates"][0]
    vpc = next(i for i in living() if i["tags"].get(ROLE) == "web" and i["tags"]["bellows:deployment"] == pool)["VpcId"]
    subnet = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"][0]["SubnetId"]
    tags = {"bellows:pool": pool, "bellows:ids": "+".join(str(i + 1) for i in range(int(count))), "bellows:epoch": "1"}
    answer = ec2.run_instances(
        LaunchTemplate={
            "LaunchTemplateId": template["LaunchTemplateId"],
            "Version": str(template["DefaultVersionNumber"]),
        },
        MinCount=1,
        MaxCount=int(count),
        SubnetId=subnet,
        ClientToken=str(uuid.uuid4()),
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
    )
    return [instance["InstanceId"] for instance in answer["Instances"]]


def fill(bucket, count):
    s3 = client("s3")
    with ThreadPoolExecutor(8) as pool:
        keys = [f"{uuid.uuid4()}/image-{i}.jpg" for i in range(int(count))]
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b"an image"), keys))
    return len(keys)


def living():
    found = []
    for page in client("ec2").get_paginator("describe_instances").paginate():
        for instance in (i for r in page["Reservations"] for i in r["Instances"]):
            if instance["State"]["Name"] not in GONE:
                instance["tags"] = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
                found.append(instance)
    return found


def instances():
    ec2 = client("ec2")
    found = []
    for instance in living():
        behaviour = ec2.describe_instance_attribute(
            InstanceId=instance["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
        )
        volumes = [mapping["Ebs"]["VolumeId"] for mapping in instance["BlockDeviceMappings"]]
        found.append(
            {
                "id": instance["InstanceId"],
                "state": instance["State"]["Name"],
                "tags": instance["tags"],
                "http_tokens": instance["MetadataOptions"]["HttpTokens"],
                "shutdown": behaviour["InstanceInitiatedShutdownBehavior"]["Value"],
                "encrypted": [v["Encrypted"] for v in ec2.describe_volumes(VolumeIds=volumes)["Volumes"]],
            }
        )
    return found


def left():
    """A new account has a default VPC with subnets, a group, a route table and an ACL; those are not ours."""
    ec2, elb = client("ec2"), client("elbv2")
    default = [v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"] if v["IsDefault"]]
    ours = lambda found: [thing for thing in found if thing.get("VpcId") not in default]
    things = {
        "instance": [i["InstanceId"] for i in living()],
        "volume": [v["VolumeId"] for v in ec2.describe_volumes()["Volumes"] if v["State"] != "deleted"],
        "vpc": [v["VpcId"] for v in ours(ec2.describe_vpcs()["Vpcs"])],
        "subnet": [s["SubnetId"] for s in ours(ec2.describe_subnets()["Subnets"])],
        "route table": [t["RouteTableId"] for t in ours(ec2.describe_route_tables()["RouteTables"])],
        "security group": [g["GroupId"] for g in ours(ec2.describe_security_groups()["SecurityGroups"])],
        "network interface": [n["NetworkInterfaceId"] for n in ours(ec2.describe_network_interfaces()["NetworkInterfaces"])],
        "internet gateway": [g["InternetGatewayId"] for g in ec2.describe_internet_gateways()["InternetGateways"]],
        "NAT gateway": [g["NatGatewayId"] for g in ec2.describe_nat_gateways()["NatGateways"] if g["State"] != "deleted"],
        "endpoint": [e["VpcEndpointId"] for e in ec2.describe_vpc_endpoints()["VpcEndpoints"] if e["State"] != "deleted"],
        "address": [a["PublicIp"] for a in ec2.describe_addresses()["Addresses"]],
        "key pair": [k["KeyName"] for k in ec2.describe_key_pairs()["KeyPairs"]],
        "launch template": [t["LaunchTemplateName"] for t in ec2.describe_launch_templates()["LaunchTemplates"]],
        "group": [g["AutoScalingGroupName"] for g in client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]],
        "balancer": [b["LoadBalancerName"] for b in elb.describe_load_balancers()["LoadBalancers"]],
        "target group": [g["TargetGroupName"] for g in elb.describe_target_groups()["TargetGroups"]],
        "queue": client("sqs").list_queues().get("QueueUrls", []),
        "bucket": [b["Name"] for b in client("s3").list_buckets()["Buckets"]],
        "alarm": [a["AlarmName"] for a in client("cloudwatch").describe_alarms()["MetricAlarms"]],
        "role": [r["RoleName"] for r in client("iam").list_roles()["Roles"] if not r["Path"].startswith("/aws-service-role/")],
        "profile": [p["InstanceProfileName"] for p in client("iam").list_instance_profiles()["InstanceProfiles"]],
    }
    return sorted(f"{kind} {name}" for kind, names in things.items() for name in names)


URL = ""

if __name__ == "__main__":
    URL = sys.argv[1]
    DO = {"images": images, "launch": launch, "fill": fill, "instances": instances, "left": left}
    print(json.dumps(DO[sys.argv[2]](*sys.argv[3:])))
