# Ends every instance of a pool: takes over what carries its tag; destroying that configuration ends them. Run by the
# destroy step of ../app_tier.tf; by hand:
#
#     terraform init -reconfigure -backend-config=path=bellows.tfstate
#     terraform apply -var pool=bellows -var region=us-east-1
#     terraform apply -destroy -var pool=bellows -var region=us-east-1

terraform {
  required_version = ">= 1.9"

  # a state for each pool, named at init
  backend "local" {}

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

variable "pool" {
  type = string
}

variable "region" {
  type = string
}

provider "aws" {
  region = var.region
}

data "aws_instances" "pool" {
  instance_state_names = ["pending", "running", "stopping", "stopped"]

  instance_tags = {
    "bellows:pool" = var.pool
  }
}

import {
  for_each = toset(data.aws_instances.pool.ids)
  to       = aws_instance.pool[each.key]
  id       = each.key
}

# They are as they are: nothing in here is compared with them.
resource "aws_instance" "pool" {
  #checkov:skip=CKV_AWS_8:Taken over as they are, to be ended.
  #checkov:skip=CKV_AWS_79:Taken over as they are, to be ended.
  #checkov:skip=CKV_AWS_126:Taken over as they are, to be ended.
  #checkov:skip=CKV_AWS_135:Taken over as they are, to be ended.
  #checkov:skip=CKV2_AWS_41:Taken over as they are, to be ended.
  for_each = toset(data.aws_instances.pool.ids)

  ami           = "taken over"
  instance_type = "any"

  lifecycle {
    ignore_changes = all
  }
}
