# What must hold of this configuration, held without AWS and without an account: `terraform test`. Every run is a plan:
# an apply would run the step that ends the pool when it cleans up, and that step is not mocked.

mock_provider "aws" {
  # so that what depends on ids and ARNs is known in a plan
  override_during = plan

  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b", "us-east-1c"] }
  }
  mock_data "aws_ami_ids" {
    defaults = { ids = ["ami-00000000000000002", "ami-00000000000000001"] }
  }
  mock_data "aws_ami" {
    defaults = {
      id               = "ami-00000000000000002"
      root_device_name = "/dev/xvda"
      tags             = {}
      block_device_mappings = [{
        device_name  = "/dev/xvda"
        no_device    = ""
        virtual_name = ""
        ebs          = { volume_size = "8" }
      }]
    }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/a-role" }
  }
  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/a-profile" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = {
      arn = "arn:aws:sqs:us-east-1:123456789012:a-queue"
      url = "https://sqs.us-east-1.amazonaws.com/123456789012/a-queue"
    }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::a-bucket" }
  }
  mock_resource "aws_launch_template" {
    defaults = {
      id             = "lt-00000000000000001"
      arn            = "arn:aws:ec2:us-east-1:123456789012:launch-template/lt-00000000000000001"
      latest_version = 1
    }
  }
  mock_resource "aws_subnet" {
    defaults = {
      id  = "subnet-00000000000000001"
      arn = "arn:aws:ec2:us-east-1:123456789012:subnet/subnet-00000000000000001"
    }
  }
  mock_resource "aws_security_group" {
    defaults = { arn = "arn:aws:ec2:us-east-1:123456789012:security-group/sg-00000000000000001" }
  }
  mock_resource "aws_lb" {
    defaults = {
      arn      = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/a/0"
      dns_name = "a.elb.amazonaws.com"
    }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/a/0" }
  }
}

variables {
  client_cidrs       = ["0.0.0.0/0"]
  tokens             = ["kim:sha256:e799ff4ec45f4735e800019128421ad380c093974b24ee9a124f1ed9768d6867"]
  ssh_public_key     = ""
  ssh_cidrs          = []
  input_bucket_name  = ""
  output_bucket_name = ""
}

run "no_wildcards" {
  command = plan

  variables {
    spot = true
  }

  assert {
    condition = alltrue([
      for action in flatten([
        for policy in concat(
          [aws_iam_role_policy.web.policy, aws_iam_role_policy.app.policy, aws_vpc_endpoint.s3.policy],
          [for queue in local.queues : queue.policy],
          [for bucket in aws_s3_bucket_policy.main : bucket.policy],
        ) : [for statement in jsondecode(policy).Statement : statement.Action if statement.Effect == "Allow"]
      ]) : !strcontains(action, "*")
    ])
    error_message = "A policy allows a wildcard action."
  }
  assert {
    # what EC2 lists has no resource to name
    condition = alltrue(flatten([
      for policy in [aws_iam_role_policy.web.policy, aws_iam_role_policy.app.policy, aws_vpc_endpoint.s3.policy] : [
        for statement in jsondecode(policy).Statement : !contains(flatten([statement.Resource]), "*") || alltrue([
          for action in flatten([statement.Action]) : contains(["ec2:DescribeInstances", "ec2:DescribeLaunchTemplateVersions"], action)
        ])
      ]
    ]))
    error_message = "A policy allows an action on every resource that could name one."
  }
  assert {
    # beyond objects of our buckets, whatever is not named is bound by a condition
    condition = alltrue(flatten([
      for policy in [aws_iam_role_policy.web.policy, aws_iam_role_policy.app.policy] : [
        for statement in jsondecode(policy).Statement : [
          for resource in flatten([statement.Resource]) :
          can(statement.Condition) || !strcontains(resource, "*") || resource == "*" || startswith(resource, "arn:aws:s3:::")
        ] if statement.Effect == "Allow"
      ]
    ]))
    error_message = "A policy allows an action on a kind of resource without a condition."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.web.policy).Statement :
      statement.Condition.StringEquals["aws:ResourceTag/bellows:pool"] == "bellows" if statement.Action == ["ec2:TerminateInstances"]
    ]) && length([for s in jsondecode(aws_iam_role_policy.web.policy).Statement : s if contains(flatten([s.Action]), "ec2:TerminateInstances")]) == 1
    error_message = "The web tier may end instances of other pools."
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.app.policy, "ec2:") && !strcontains(aws_iam_role_policy.app.policy, "iam:")
    error_message = "The app tier has rights over machines."
  }
}

run "no_keys" {
  command = plan

  assert {
    condition = alltrue([
      for name in setunion(fileset(path.module, "*.tf"), fileset(path.module, "*/*.tf")) :
      !can(regex("aws_iam_access_key|aws_iam_user|tls_private_key|random_password|\\b(access|secret)_key\\s*=|\\btoken\\s*=", file("${path.module}/${name}")))
    ])
    error_message = "A key, a user or a secret is made or taken: it would be in the state."
  }
  assert {
    condition     = !can(regex("AKIA|ASIA|PRIVATE KEY|secret", "${output.web_config}${output.app_config}"))
    error_message = "User data holds a key."
  }
}

run "a_token_itself_is_refused" {
  command = plan
  variables {
    tokens = ["bellows_8_5NJPLYcz70JUcAwnQ4w5AA5tcfmHEhfJevT8RZeL0"]
  }
  expect_failures = [var.tokens]
}

run "a_private_key_is_refused" {
  command = plan
  variables {
    ssh_public_key = "-----BEGIN OPENSSH PRIVATE KEY-----"
    ssh_cidrs      = ["203.0.113.0/24"]
  }
  expect_failures = [var.ssh_public_key]
}

run "nobody_may_upload" {
  command = plan
  variables {
    tokens = []
  }
  expect_failures = [var.tokens]
}

run "everybody_may_upload" {
  command = plan
  variables {
    tokens          = []
    allow_anonymous = true
  }
  expect_failures = [var.allow_anonymous]
}

run "everybody_in_two_halves_may_upload" {
  command = plan
  variables {
    allow_anonymous = true
    client_cidrs    = ["0.0.0.0/1", "128.0.0.0/1"]
  }
  expect_failures = [var.allow_anonymous]
}

run "anonymous_from_named_networks" {
  command = plan
  variables {
    tokens          = []
    allow_anonymous = true
    client_cidrs    = ["203.0.113.0/24"]
  }
  assert {
    condition     = strcontains(output.web_config, "allow_anonymous = true")
    error_message = "allow_anonymous does not reach the daemon."
  }
}

run "metadata_version_2" {
  command = plan

  assert {
    condition     = alltrue([for template in [aws_launch_template.web, aws_launch_template.app] : template.metadata_options[0].http_tokens == "required" && template.metadata_options[0].http_put_response_hop_limit == 1])
    error_message = "An instance answers IMDSv1."
  }
  assert {
    condition     = contains(flatten([for s in jsondecode(aws_iam_role_policy.web.policy).Statement : try(s.Condition.StringEquals["ec2:MetadataHttpTokens"], [])]), "required")
    error_message = "The controller may launch instances with IMDSv1."
  }
  assert {
    condition     = aws_launch_template.app.metadata_options[0].instance_metadata_tags == "enabled"
    error_message = "An app instance cannot read its pool and id."
  }
}

run "nothing_billed_by_the_hour_by_default" {
  command = plan

  assert {
    condition     = !anytrue([for name in fileset(path.module, "*.tf") : can(regex("\"aws_(nat_gateway|eip)\"", file("${path.module}/${name}")))])
    error_message = "There is a NAT gateway or an address of our own."
  }
  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0 && length(aws_subnet.private) == 0 && length(aws_lb.web) == 0
    error_message = "Interface endpoints, private subnets or a load balancer come by default."
  }
  assert {
    condition     = output.idle_usd_per_month == 19.77
    error_message = "idle_usd_per_month: t3.small, an address, 8 GB and three alarms are 19.77 $, not ${output.idle_usd_per_month}."
  }
}

run "private" {
  command = plan
  variables {
    private         = true
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
    hostname        = "images.example.org"
  }

  assert {
    condition     = keys(aws_vpc_endpoint.interface) == ["ec2", "sqs"] && length(aws_subnet.private) == 2
    error_message = "Private subnets lack their endpoints."
  }
  assert {
    condition     = alltrue([for subnet in aws_subnet.private : !coalesce(subnet.map_public_ip_on_launch, false)])
    error_message = "A private subnet gives out public addresses."
  }
  assert {
    condition     = aws_lb.web[0].idle_timeout == 330 && length(aws_vpc_security_group_ingress_rule.clients) == 0
    error_message = "The balancer waits less than web.wait + 30 s, or port 3000 is open beside it."
  }
  assert {
    condition     = output.url == "https://images.example.org/"
    error_message = "url is ${output.url}."
  }
}

run "who_reaches_what" {
  command = plan
  variables {
    ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl kim"
    ssh_cidrs      = ["203.0.113.0/24"]
    metrics_cidrs  = ["10.20.0.0/16"]
  }

  assert {
    condition = alltrue([
      for rule in concat(
        values(aws_vpc_security_group_ingress_rule.clients),
        values(aws_vpc_security_group_ingress_rule.metrics),
        values(aws_vpc_security_group_ingress_rule.ssh),
      ) : rule.security_group_id == aws_security_group.web.id
    ]) && aws_security_group.web.id != aws_security_group.app.id
    error_message = "Something may come in to the app tier."
  }
  assert {
    condition     = !anytrue([for name in fileset(path.module, "*.tf") : can(regex("aws_security_group_rule|\\n\\s*ingress \\{", file("${path.module}/${name}")))])
    error_message = "A rule is made in a way that this test does not see."
  }
  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.clients) == ["0.0.0.0/0"] && alltrue([for rule in aws_vpc_security_group_ingress_rule.clients : rule.from_port == 3000 && rule.to_port == 3000])
    error_message = "Clients reach more or less than port 3000."
  }
}

run "logging_in_from_everywhere_is_refused" {
  command = plan
  variables {
    ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl kim"
    ssh_cidrs      = ["0.0.0.0/0"]
  }
  expect_failures = [var.ssh_cidrs]
}

run "encrypted_and_not_public" {
  command = plan

  assert {
    condition     = alltrue([for queue in local.queues : queue.sqs_managed_sse_enabled])
    error_message = "A queue is not encrypted."
  }
  assert {
    condition     = alltrue([for bucket in aws_s3_bucket_public_access_block.main : bucket.block_public_acls && bucket.block_public_policy && bucket.ignore_public_acls && bucket.restrict_public_buckets]) && length(aws_s3_bucket_public_access_block.main) == 2
    error_message = "A bucket may become public."
  }
  assert {
    condition     = alltrue([for template in [aws_launch_template.web, aws_launch_template.app] : template.block_device_mappings[0].ebs[0].encrypted == "true" && template.block_device_mappings[0].ebs[0].delete_on_termination == "true"])
    error_message = "A disk is not encrypted, or outlives its instance."
  }
}

run "times" {
  command = plan

  assert {
    condition     = local.seconds.request_ttl < aws_sqs_queue.request.message_retention_seconds && aws_sqs_queue.request.message_retention_seconds < aws_sqs_queue.dead.message_retention_seconds
    error_message = "Messages vanish before they are answered."
  }
  assert {
    condition     = { for tier, lifecycle in aws_s3_bucket_lifecycle_configuration.main : tier => lifecycle.rule[0].expiration[0].days } == { input = 15, output = 30 }
    error_message = "Images or results are kept for another time than the daemon is told."
  }
  assert {
    condition     = aws_sqs_queue.terminate_request.message_retention_seconds == 300
    error_message = "Terminate requests outlive their leader."
  }
}

run "the_pool" {
  command = plan

  assert {
    condition     = aws_launch_template.app.instance_initiated_shutdown_behavior == "terminate"
    error_message = "An app instance that powers itself off stays, and is billed."
  }
  assert {
    condition     = aws_autoscaling_group.web.min_size == 1 && aws_autoscaling_group.web.max_size == 1
    error_message = "There is not exactly one web tier."
  }
}

run "another_deployment_beside_it" {
  command = plan
  variables {
    name = "second"
  }
  assert {
    condition = alltrue([
      for name in concat(
        [for queue in local.queues : queue.name],
        [for bucket in aws_s3_bucket.main : bucket.bucket],
        [for role in aws_iam_role.tier : role.name],
        [for profile in aws_iam_instance_profile.tier : profile.name],
        [aws_launch_template.web.name, aws_launch_template.app.name, aws_autoscaling_group.web.name],
        [aws_security_group.web.name, aws_security_group.app.name],
        [aws_cloudwatch_metric_alarm.dead_letters.alarm_name, aws_cloudwatch_metric_alarm.dead_letters_unanswered.alarm_name, aws_cloudwatch_metric_alarm.oldest_request.alarm_name],
      ) : startswith(name, "second-")
    ])
    error_message = "Something has no prefix of its own: two deployments would meet there."
  }
}

run "a_bad_name" {
  command = plan
  variables {
    name = "No Good"
  }
  expect_failures = [var.name]
}

run "more_kept_than_allowed" {
  command = plan
  variables {
    max_instances = 2
    min_instances = 3
  }
  expect_failures = [var.min_instances]
}

run "nobody_reaches_it" {
  command = plan
  variables {
    client_cidrs = []
  }
  expect_failures = [var.client_cidrs]
}

run "settings_of_the_daemon" {
  command = plan
  variables {
    settings = { pool = { policy = "deadline" }, app = { pause = "2s" }, "web" = { max_files = 10 } }
  }
  assert {
    condition     = alltrue([for line in ["policy = \"deadline\"", "max_files = 10", "name = \"bellows\"", "instance_usd_per_hour = 0.09425"] : strcontains(output.web_config, line)]) && strcontains(output.app_config, "[app]\npause = \"2s\"\n")
    error_message = "Settings do not reach the daemon: ${output.web_config}"
  }
}

run "settings_that_terraform_owns" {
  command = plan
  variables {
    settings = { "queue.urls" = { request = "https://elsewhere" } }
  }
  expect_failures = [var.settings]
}

run "tags_that_no_instance_can_read" {
  command = plan
  variables {
    tags = { "cost centre" = "7" }
  }
  expect_failures = [var.tags]
}

run "no_image" {
  command = plan
  override_data {
    target          = data.aws_ami_ids.tier
    override_during = plan
    values          = { ids = [] }
  }
  expect_failures = [data.aws_ami.tier]
}

run "the_other_tiers_image" {
  command = plan
  override_data {
    target          = data.aws_ami.tier
    override_during = plan
    values          = { id = "ami-00000000000000003", root_device_name = "/dev/xvda", tags = { "bellows:role" = "something else" } }
  }
  expect_failures = [data.aws_ami.tier]
}

run "every_permission_is_explained" {
  command = plan

  assert {
    condition = alltrue([
      for action in flatten([
        for policy in [aws_iam_role_policy.web.policy, aws_iam_role_policy.app.policy] : [for statement in jsondecode(policy).Statement : statement.Action]
      ]) : strcontains(file("${path.module}/../docs/DEPLOYING.md"), "`${action}`")
    ])
    error_message = "docs/DEPLOYING.md does not say what a permission is for."
  }
}
