# An image of one tier, registered as it was built: a helper instance gets an empty volume, the disk image is written to it
# byte for byte and read back, a snapshot of it becomes the AMI. `nix run .#publish` calls this once a tier.

packer {
  required_version = ">= 1.14.0"

  required_plugins {
    amazon = {
      version = ">= 1.8.0"
      source  = "github.com/hashicorp/amazon"
    }
  }
}

variable "role" {
  description = "The tier: web or app."
  type        = string

  validation {
    condition     = contains(["web", "app"], var.role)
    error_message = "The role is web or app."
  }
}

variable "image" {
  description = "Path of the raw disk image, compressed with zstd."
  type        = string
}

variable "sha256" {
  description = "Of the raw image, before compression: 64 hexadecimal digits."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.sha256))
    error_message = "The sha256 is 64 hexadecimal digits."
  }
}

variable "bytes" {
  description = "Size of the raw image in bytes."
  type        = number
}

variable "revision" {
  description = "Git revision of the tree that it was built from."
  type        = string
}

variable "model" {
  description = "Name of the model that it carries; \"none\" for the web tier."
  type        = string
}

variable "region" {
  description = "Where it is registered."
  type        = string
}

variable "architecture" {
  description = "x86_64 or arm64."
  type        = string
  default     = "x86_64"
}

variable "manifest" {
  description = "File that gets the ids of what was made."
  type        = string
  default     = "images.json"
}

locals {
  device           = "/dev/xvda"
  device_of_helper = "/dev/sdf"
  name             = "bellows-${var.role}-${substr(var.sha256, 0, 12)}"
  # terraform/app_tier.tf looks for bellows:role
  tags = {
    Name             = local.name
    "bellows:role"   = var.role
    "bellows:sha256" = var.sha256
    "bellows:git"    = var.revision
    "bellows:model"  = var.model
  }
}

source "amazon-ebssurrogate" "image" {
  region        = var.region
  instance_type = var.architecture == "arm64" ? "t4g.small" : "t3.small"
  ssh_username  = "ec2-user"

  # the helper's own system, which nothing of the image comes from
  source_ami_filter {
    filters = {
      name                = "al2023-ami-2023.*-kernel-6.1-${var.architecture}"
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
    owners      = ["amazon"]
    most_recent = true
  }

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }

  launch_block_device_mappings {
    device_name           = local.device_of_helper
    volume_type           = "gp3"
    volume_size           = ceil(var.bytes / 1073741824)
    delete_on_termination = true
  }

  ami_name                = local.name
  ami_description         = "bellows, ${var.role} tier, ${var.revision}"
  ami_architecture        = var.architecture
  ami_virtualization_type = "hvm"
  boot_mode               = "uefi"
  ena_support             = true
  imds_support            = "v2.0"
  tpm_support             = var.architecture == "x86_64" ? "v2.0" : null

  ami_root_device {
    source_device_name    = local.device_of_helper
    device_name           = local.device
    volume_type           = "gp3"
    volume_size           = ceil(var.bytes / 1073741824)
    delete_on_termination = true
  }

  tags          = local.tags
  snapshot_tags = local.tags
  run_tags      = { Name = "${local.name}-helper" }
}

build {
  sources = ["source.amazon-ebssurrogate.image"]

  provisioner "file" {
    source      = var.image
    destination = "/tmp/image.zst"
  }

  # what is read back is what was built, or nothing is registered
  provisioner "shell" {
    inline_shebang = "/bin/bash -euo pipefail"
    inline = [
      "disk=$(readlink -f ${local.device_of_helper})",
      "zstd -dc /tmp/image.zst | sudo dd of=\"$disk\" bs=4M conv=fsync status=none",
      "sync",
      "echo 3 | sudo tee /proc/sys/vm/drop_caches >/dev/null",
      "read -r found _ < <(sudo head -c ${var.bytes} \"$disk\" | sha256sum)",
      "echo \"read back: $found\"",
      "[ \"$found\" = ${var.sha256} ]",
    ]
  }

  post-processor "manifest" {
    output      = var.manifest
    strip_path  = true
    custom_data = local.tags
  }
}
