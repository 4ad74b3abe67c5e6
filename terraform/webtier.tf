# One web instance. An Auto Scaling group of exactly one puts another in its place when it is gone; the state is in
# queues and buckets.

resource "aws_launch_template" "web" {
  name                                 = "${var.name}-web"
  description                          = "Web tier of ${var.name}"
  update_default_version               = true
  image_id                             = data.aws_ami.tier["web"].id
  instance_type                        = var.web_instance_type
  instance_initiated_shutdown_behavior = "terminate"
  key_name                             = one(aws_key_pair.login[*].key_name)
  vpc_security_group_ids               = [aws_security_group.web.id]
  user_data                            = base64encode(module.web_config.text)

  iam_instance_profile {
    arn = aws_iam_instance_profile.tier["web"].arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "enabled"
  }

  block_device_mappings {
    device_name = data.aws_ami.tier["web"].root_device_name

    ebs {
      encrypted             = true
      volume_type           = "gp3"
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume"])

    content {
      resource_type = tag_specifications.key
      tags          = merge(var.tags, { Name = "${var.name}-web", "bellows:deployment" = var.name, "bellows:role" = "web" })
    }
  }

  lifecycle {
    precondition {
      condition     = length(module.web_config.text) <= 16384
      error_message = "The web tier's configuration is longer than the 16 KiB of user data: fewer tokens, or shorter settings."
    }
  }
}

resource "aws_autoscaling_group" "web" {
  name                      = "${var.name}-web"
  min_size                  = 1
  max_size                  = 1
  desired_capacity          = 1
  vpc_zone_identifier       = values(local.web_subnets)[*].id
  health_check_type         = local.tls ? "ELB" : "EC2"
  health_check_grace_period = 180
  target_group_arns         = aws_lb_target_group.web[*].arn
  wait_for_capacity_timeout = "10m"

  launch_template {
    id      = aws_launch_template.web.id
    version = aws_launch_template.web.latest_version
  }

  # A changed image or configuration replaces the instance: the old one drains, then goes, then the new one comes. Two
  # at once would be two controllers, which is survived, but serves nobody.
  instance_refresh {
    strategy = "Rolling"

    preferences {
      min_healthy_percentage = 0
    }
  }

  # tags of the instance are the launch template's; these are the group's own
  dynamic "tag" {
    for_each = merge(var.tags, { Name = "${var.name}-web", "bellows:deployment" = var.name })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false
    }
  }

  # So the web tier is gone before its pool is ended (see end_pool), and has its rights until then.
  depends_on = [
    terraform_data.end_pool,
    aws_iam_role_policy.web,
    aws_vpc_security_group_egress_rule.aws,
  ]
}

# Where the one instance is now. After the group has replaced it, `terraform apply -refresh-only` looks again.
data "aws_instances" "web" {
  instance_state_names = ["pending", "running"]

  instance_tags = {
    "aws:autoscaling:groupName" = aws_autoscaling_group.web.name
  }

  depends_on = [aws_autoscaling_group.web]
}

# An optional load balancer, which has the certificate.

resource "aws_lb" "web" {
  #checkov:skip=CKV_AWS_91:Access logs are billed and repeat what the daemon logs.
  #checkov:skip=CKV_AWS_150:Nothing is lost with a balancer, and `terraform destroy` shall leave nothing behind.
  #checkov:skip=CKV2_AWS_28:A web application firewall is billed by the month and the rule; tokens and limits are the daemon's own.
  count = local.tls ? 1 : 0

  name                       = "${var.name}-web"
  load_balancer_type         = "application"
  subnets                    = values(aws_subnet.public)[*].id
  security_groups            = [aws_security_group.balancer[0].id]
  idle_timeout               = var.web_wait_seconds + 30
  drop_invalid_header_fields = true
  tags                       = { Name = "${var.name}-web" }

  depends_on = [aws_route.internet]
}

resource "aws_lb_target_group" "web" {
  count = local.tls ? 1 : 0

  name     = "${var.name}-web"
  port     = 3000
  protocol = "HTTP"
  vpc_id   = aws_vpc.main.id
  # those who wait get their label from the old instance
  deregistration_delay = min(3600, var.web_wait_seconds + 30)

  # alive, not ready: an instance that cannot read its queues is not mended by another one
  health_check {
    path                = "/healthz"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
    matcher             = "200"
  }
}

resource "aws_lb_listener" "https" {
  count = local.tls ? 1 : 0

  load_balancer_arn = aws_lb.web[0].arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.web[0].arn
  }
}
