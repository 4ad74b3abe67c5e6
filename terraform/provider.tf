terraform {
  # 1.9: validation of a variable may look at another one
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

# Credentials come from where every AWS tool finds them (AWS_PROFILE, AWS_ACCESS_KEY_ID, a role, single sign-on) and
# are no variables of ours: what is a variable lands in a plan or a state.
provider "aws" {
  region = var.region

  default_tags {
    tags = merge(var.tags, { "bellows:deployment" = var.name })
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:Two of them are used: the first by name, which a new zone does not come before, or those that `zones` names.
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
}
