"""AWS on a loopback port: moto, with the gaps closed that Terraform and the daemon fall into.

    emulator.py [--port N]

Prints one line, its URL, once it listens, and ends when its standard input does (so that it never outlives the test
that started it). Its state is in memory and is gone with it; GET /moto-api/data.json shows all of it.
Each gap is closed by assigning over moto's own class, with the AWS behaviour that was missing said beside it.
"""

import argparse
import copy
import json
import logging
import os
import sys
import threading
from collections import defaultdict

from moto.core.responses import ActionResult
from moto.ec2 import utils as ec2_utils
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.responses.instances import InstanceResponse
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sqs.models import Queue
from werkzeug.serving import make_server

# moto's EC2 is not made for calls at the same time; a launch is the one that must not be torn.
launching = threading.RLock()


def queues():
    """SetQueueAttributes keeps what it is not told; RedrivePolicy has no blanks; RedriveAllowPolicy is kept."""
    set_attributes, attributes = Queue._set_attributes, Queue.attributes.fget
    Queue.redrive_allow_policy = None
    Queue.BASE_ATTRIBUTES.append("RedriveAllowPolicy")

    def keep_policy(self, values, now=None):
        policy = getattr(self, "policy", None)
        set_attributes(self, values, now)
        if "Policy" not in values:
            self.policy = policy

    def compact(self):
        result = attributes(self)
        if self.redrive_policy:
            result["RedrivePolicy"] = json.dumps(self.redrive_policy, separators=(",", ":"))
        if not self.redrive_allow_policy:
            result.pop("RedriveAllowPolicy", None)
        return result

    Queue._set_attributes = keep_policy
    Queue.attributes = property(compact)


def launch_templates():
    """The tags of a template itself are not tags of what it launches."""
    create = LaunchTemplate.__init__

    def own_tags(self, backend, name, template_data, version_description, tag_spec):
        data = dict(template_data)
        specifications = [s for s in data.get("TagSpecifications", []) if s.get("ResourceType") != "launch-template"]
        if specifications:
            data["TagSpecifications"] = specifications
        else:
            data.pop("TagSpecifications", None)
        create(self, backend, name, data, version_description, tag_spec)

    LaunchTemplate.__init__ = own_tags


class MismatchedToken(EC2ClientError):
    """A client token was used before with other parameters."""

    def __init__(self):
        message = "The request uses the same client token as a previous, but non-identical request."
        super().__init__("IdempotentParameterMismatch", message)


def instances():
    """RunInstances launches MaxCount, heeds ClientToken (within a zone), and takes from the template what moto forgets."""
    respond, run = InstanceResponse.run_instances, InstanceBackend.run_instances
    add_block_device, terminate = Instance.add_block_device, Instance.terminate
    launched = defaultdict(dict)

    def run_instances(self):
        with launching:
            asked = copy.deepcopy(dict(self.params))
            token, subnet = self._get_param("ClientToken"), self._get_param("SubnetId")
            zone = self.ec2_backend.get_subnet(subnet).availability_zone if subnet else None
            # moto starts MinCount; with room for all of them EC2 starts MaxCount
            self.params["MinCount"] = self._get_int_param("MaxCount") or self._get_int_param("MinCount") or 1
            if not token:
                return respond(self)
            known = launched[self.ec2_backend].get((token, zone))
            if known is None:
                launched[self.ec2_backend][token, zone] = known = (asked, respond(self))
            elif known[0] != asked:
                raise MismatchedToken
            return ActionResult(known[1].result) if isinstance(known[1], ActionResult) else known[1]

    def from_template(self, image_id, count, user_data, security_group_names, **kwargs):
        if kwargs.get("launch_template"):
            data = self._get_template_from_args(kwargs["launch_template"]).data
            if not kwargs.get("metadata_options"):
                kwargs["metadata_options"] = data.get("MetadataOptions", {})
            if not kwargs.get("instance_initiated_shutdown_behavior"):
                kwargs["instance_initiated_shutdown_behavior"] = data.get("InstanceInitiatedShutdownBehavior")
            # else a root volume of moto's own comes beside the template's
            if not kwargs.get("block_device_mappings") and data.get("BlockDeviceMappings"):
                kwargs["block_device_mappings"] = data["BlockDeviceMappings"]
        with launching:
            return run(self, image_id, count, user_data, security_group_names, **kwargs)

    def sized(self, size, device_path, snapshot_id, *rest, **named):
        # without a size a volume is as large as its snapshot; moto's images have none
        add_block_device(self, size if size or snapshot_id else 8, device_path, snapshot_id, *rest, **named)

    def with_interface(self):
        # the interface that came with an instance goes with it
        for nic in self.nics.values():
            nic.delete_on_termination = True
        return terminate(self)

    Instance.terminate = with_interface
    InstanceResponse.run_instances = run_instances
    InstanceBackend.run_instances = from_template
    Instance.add_block_device = sized
    ec2_utils.filter_dict_attribute_mapping["client-token"] = "client_token"


def images():
    """RegisterImage keeps tags, architecture and root device."""
    register = AmisResponse.register_image

    def register_image(self):
        answer = register(self)
        image = self.ec2_backend.amis[answer.result["ImageId"]]
        image.architecture = self._get_param("Architecture", "x86_64")
        image.root_device_name = self._get_param("RootDeviceName", image.root_device_name)
        image.add_tags(self._parse_tag_specification().get("image", {}))
        return answer

    AmisResponse.register_image = register_image


def policies():
    """Loopback stands for TLS: what is denied without it is not denied here (moto heeds no condition of a denial)."""
    is_permitted = IAMPolicyStatement.is_action_permitted

    def with_tls(self, *arguments, **named):
        conditions = self._statement.get("Condition", {})
        if self._statement.get("Effect") == "Deny" and "aws:SecureTransport" in conditions.get("Bool", {}):
            return PermissionResult.NEUTRAL
        return is_permitted(self, *arguments, **named)

    IAMPolicyStatement.is_action_permitted = with_tls


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--port", type=int, default=0, help="0: any free one")
    port = arguments.parse_args().port
    # a line a call would be the larger part of a test's output
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    for close in (queues, launch_templates, instances, images, policies):
        close()
    server = make_server(
        "127.0.0.1", port, DomainDispatcherApplication(create_backend_app), threaded=True, request_handler=MotoRequestHandler
    )
    os.environ["MOTO_PORT"] = str(server.port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.port}", flush=True)
    # read as bytes: what is written here says nothing
    while sys.stdin.buffer.read(4096):
        pass


main()
