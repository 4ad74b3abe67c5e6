"""What moto does otherwise than AWS where Terraform leans on it; `close()` puts it right.

Each gap is closed by assigning over moto's own class, with AWS's behaviour said beside it.
"""

import copy
import json
import threading

from moto.ec2 import utils as ec2_utils
from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ec2.models.security_groups import SecurityGroupBackend, SecurityGroupRule
from moto.ec2.responses.amis import AmisResponse
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.sqs.models import Queue


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


def instances():
    """An instance takes from its template what moto forgets; its disks have a size; its interface goes with it, and
    ending it twice is no error."""
    ending = threading.Lock()
    run, add_block_device, terminate = InstanceBackend.run_instances, Instance.add_block_device, Instance.terminate

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
        return run(self, image_id, count, user_data, security_group_names, **kwargs)

    def sized(self, size, device_path, snapshot_id, *rest, **named):
        # without a size a volume is as large as its snapshot; moto's images have none
        add_block_device(self, size if size or snapshot_id else 8, device_path, snapshot_id, *rest, **named)

    def with_interface(self):
        with ending:
            if self.state == "terminated":
                return copy.copy(self._state)
            for nic in self.nics.values():
                nic.delete_on_termination = True
            return terminate(self)

    InstanceBackend.run_instances = from_template
    Instance.add_block_device = sized
    Instance.terminate = with_interface
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


def security_groups():
    """A rule that names a group keeps its description; a group that an instance is in cannot be deleted."""
    delete = SecurityGroupBackend.delete_security_group

    def unused(self, name=None, group_id=None):
        for instance in self.all_instances():
            if instance.state != "terminated" and group_id in [group.id for group in instance.security_groups]:
                raise DependencyViolationError(f"resource {group_id} has a dependent object")
        return delete(self, name, group_id)

    SecurityGroupBackend.delete_security_group = unused
    SecurityGroupRule.description = property(
        lambda rule: rule.ip_range.get("Description") or rule.source_group.get("Description")
    )


def close():
    for gap in (queues, launch_templates, instances, images, security_groups, policies):
        gap()
