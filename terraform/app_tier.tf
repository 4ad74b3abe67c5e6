# What the controller launches, and by what it is ended when all is taken down.

# The images: found by tag, or given. Their own tags say for which tier they were made.
data "aws_ami_ids" "tier" {
  for_each = toset([for tier, given in local.given_images : tier if given == ""])

  owners = ["self"]

  filter {
    name   = "tag:bellows:role"
    values = [each.key]
  }
  filter {
    name   = "state"
    values = ["available"]
  }
}

data "aws_ami" "tier" {
  for_each = local.given_images

  filter {
    name   = "image-id"
    values = [local.images[each.key]]
  }

  lifecycle {
    precondition {
      condition     = local.images[each.key] != ""
      error_message = <<-EOT
        No image of the ${each.key} tier in ${var.region}: none of this account is tagged bellows:role = ${each.key}.
        This makes both:

            nix run .#publish -- --region ${var.region}

        or name one: ${each.key}_ami_id = "ami-…"
      EOT
    }
    postcondition {
      condition     = lookup(self.tags, "bellows:role", each.key) == each.key
      error_message = "${self.id} is an image of the ${lookup(self.tags, "bellows:role", "?")} tier, not of the ${each.key} tier."
    }
  }
}

locals {
  given_images = { web = var.web_ami_id, app = var.app_ami_id }

  # newest first
  images = { for tier, given in local.given_images : tier => given != "" ? given : try(data.aws_ami_ids.tier[tier].ids[0], "") }
}

resource "aws_launch_template" "app" {
  name                                 = "${var.name}-app"
  description                          = "App tier of ${var.name}: launched and ended by the controller"
  update_default_version               = true
  image_id                             = data.aws_ami.tier["app"].id
  instance_type                        = var.app_instance_types[0]
  instance_initiated_shutdown_behavior = "terminate"
  vpc_security_group_ids               = [aws_security_group.app.id]
  user_data                            = base64encode(module.app_config.text)

  iam_instance_profile {
    arn = aws_iam_instance_profile.tier["app"].arn
  }

  # IMDSv2 only; the tags tell an instance its pool and its app-tier id
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "enabled"
  }

  block_device_mappings {
    device_name = data.aws_ami.tier["app"].root_device_name

    ebs {
      encrypted             = true
      volume_type           = "gp3"
      delete_on_termination = true
    }
  }

  # The pool's tags (bellows:pool, bellows:ids, bellows:epoch) come with each launch.
  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume"])

    content {
      resource_type = tag_specifications.key
      tags          = merge(var.tags, { "bellows:deployment" = var.name, "bellows:role" = "app" })
    }
  }

  lifecycle {
    precondition {
      # EC2 takes no more
      condition     = length(module.app_config.text) <= 16384
      error_message = "The app tier's configuration is longer than the 16 KiB of user data: shorten settings."
    }
  }
}

# `terraform destroy` knows nothing of instances that the controller launched. This step is destroyed after the web tier
# (so nobody launches any more) and before what the instances use; it then ends all that carry the pool's tag, with a
# configuration of its own (end_pool/) that takes them over and destroys them. So it needs terraform and the credentials
# that are in use anyway, and nothing else. What it may miss, an instance that no list shows yet, ends itself when its
# queue has not existed for 60 s.
resource "terraform_data" "end_pool" {
  input = {
    pool   = var.name
    region = var.region
  }
  triggers_replace = [var.name, var.region]

  provisioner "local-exec" {
    when        = destroy
    working_dir = "${path.module}/end_pool"

    # Words that sh and cmd both understand; what goes wrong is on standard error. The provider is the one that this
    # configuration has installed, else it is fetched once more. An instance may end by itself between being listed and
    # being taken over, which is an error of that run: so again, twice.
    command = join(" ", [
      "(${join(" || ", [
        for source in ["-plugin-dir=../.terraform/providers", ""] :
        "terraform init -input=false -no-color -reconfigure -backend-config=path=${self.input.pool}.tfstate ${source} > ${self.input.pool}.log"
      ])})",
      "&& (${join(" || ", [
        for try in ["first", "second", "third"] :
        "(terraform apply -input=false -no-color -auto-approve > ${self.input.pool}.log && terraform apply -destroy -input=false -no-color -auto-approve > ${self.input.pool}.log)"
      ])})",
    ])

    environment = {
      TF_VAR_pool       = self.input.pool
      TF_VAR_region     = self.input.region
      TF_DATA_DIR       = ".terraform-${self.input.pool}"
      TF_WORKSPACE      = "default"
      TF_CLI_ARGS       = ""
      TF_CLI_ARGS_init  = ""
      TF_CLI_ARGS_apply = ""
      TF_IN_AUTOMATION  = "true"
    }
  }

  depends_on = [
    aws_iam_instance_profile.tier,
    aws_iam_role_policy.app,
    aws_launch_template.app,
    aws_route.internet,
    aws_route_table_association.private,
    aws_route_table_association.public,
    aws_s3_bucket.main,
    aws_s3_bucket_notification.incoming,
    aws_security_group.app,
    aws_sqs_queue.request,
    aws_vpc_endpoint.interface,
    aws_vpc_endpoint.s3,
    aws_vpc_security_group_egress_rule.aws,
  ]
}
