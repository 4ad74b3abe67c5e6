# What the daemon is told: user data in TOML, whose keys are the daemon's own (src/config.default.toml). It names
# queues, buckets and the launch template, and holds hashes of tokens; no secret is in it.

locals {
  # Times that must fit together. They are no variables: queues, lifecycle rules and the daemon get the same ones.
  max_receives = 10
  seconds = {
    visibility     = 30
    request_ttl    = 3 * 86400
    retention      = 4 * 86400
    dead_retention = 14 * 86400
  }
  days = {
    inputs  = 15
    results = 30
  }

  both = {
    "" = { backend = "aws" }
    "queue" = {
      visibility     = "${local.seconds.visibility}s"
      max_receives   = local.max_receives
      retention      = "${local.seconds.retention}s"
      dead_retention = "${local.seconds.dead_retention}s"
    }
    "queue.urls" = { for name, queue in local.queues : name => queue.url }
    "bucket"     = { for name, bucket in aws_s3_bucket.main : name => bucket.bucket }
    "retention" = {
      request_ttl = "${local.seconds.request_ttl}s"
      inputs      = "${local.days.inputs}d"
      results     = "${local.days.results}d"
    }
    "pool" = {
      name          = var.name
      max_instances = var.max_instances
      min_instances = var.min_instances
    }
    "aws" = { region = var.region }
    # images carry engine and model
    "model" = { pull = "never" }
    "log"   = { format = "json" }
  }

  web = {
    "" = { role = "web" }
    "web" = {
      listen          = "0.0.0.0:3000"
      wait            = "${var.web_wait_seconds}s"
      tokens          = var.tokens
      allow_anonymous = var.allow_anonymous
    }
    # by the type alone: a larger image of the app tier leaves the web tier alone. 0: a type that prices.json has not
    "pool"    = { instance_usd_per_hour = try(local.prices.instance_hour[var.app_instance_types[0]] + (var.private ? 0 : local.address), 0) }
    "metrics" = { listen = length(var.metrics_cidrs) > 0 ? "0.0.0.0:9464" : "127.0.0.1:9464" }
    "aws" = {
      launch_template = aws_launch_template.app.id
      # the controller asks for the number behind it at each launch: an upgrade of the app tier leaves the web tier alone
      launch_template_version = "$Default"
      instance_types          = var.app_instance_types
      subnets                 = values(local.app_subnets)[*].id
      spot                    = var.spot
      spot_fallback           = var.spot_fallback
    }
  }

  app = {
    "" = { role = "app" }
  }
}

module "web_config" {
  source  = "./toml"
  heading = "Written by Terraform for the web tier of ${var.name}."
  layers  = [var.settings, local.both, local.web]
}

module "app_config" {
  source  = "./toml"
  heading = "Written by Terraform for the app tier of ${var.name}."
  layers  = [var.settings, local.both, local.app]
}

# The original's way to look at an instance. Only with a key, and only into the web tier.
resource "aws_key_pair" "login" {
  count = var.ssh_public_key != "" ? 1 : 0

  key_name   = var.name
  public_key = var.ssh_public_key
}
