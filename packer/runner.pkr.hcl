# An image that boots straight into a runner: everything a job needs is in it, nothing is downloaded at boot.
#
#   packer init .
#   packer build -var-file=amd64.pkrvars.hcl .
#   packer build -var-file=arm64.pkrvars.hcl .
#
# Lines marked "modern" are not known to Debian's packer 1.6.6; the tests validate the rest with it.

variable "arch" {
  type        = string
  description = "Of the image, in Debian's words: amd64 or arm64."

  validation {
    condition     = contains(["amd64", "arm64"], var.arch)
    error_message = "The arch is amd64 or arm64."
  }
}

variable "base" {
  type        = string
  default     = "ubuntu-24.04"
  description = "What the image is made from: ubuntu-24.04 or debian-12."

  validation {
    condition     = contains(["ubuntu-24.04", "debian-12"], var.base)
    error_message = "The base is ubuntu-24.04 or debian-12."
  }
}

variable "runner_version" {
  type        = string
  default     = "2.337.0"
  description = "Of the runner program. GitHub gives no jobs to one that is 30 days behind a newer release: rebuild in time."
}

variable "runner_sha256" {
  type        = string
  description = "Of the runner program's archive for this arch and version, from its release notes (see the var files)."

  validation {
    condition     = length(var.runner_sha256) == 64
    error_message = "The runner_sha256 is 64 hex digits."
  }
}

variable "runner_mirror" {
  type        = string
  default     = "https://github.com/actions/runner/releases/download"
  description = "Where v<version>/actions-runner-linux-<arch>-<version>.tar.gz is fetched from; the checksum holds anywhere."
}

variable "aws_cli_version" {
  type        = string
  default     = "2.36.7"
  description = "Of the AWS CLI, for jobs; the boot script does without it."
}

variable "aws_cli_sha256" {
  type        = string
  description = "Of the AWS CLI's archive for this arch and version (see the var files)."

  validation {
    condition     = length(var.aws_cli_sha256) == 64
    error_message = "The aws_cli_sha256 is 64 hex digits."
  }
}

variable "aws_cli_mirror" {
  type        = string
  default     = "https://awscli.amazonaws.com"
  description = "Where awscli-exe-linux-<arch>-<version>.zip is fetched from."
}

variable "fleet" {
  type        = string
  default     = ""
  description = "Whose image it is; a scheduled rebuild removes old images of its own fleet alone."
}

variable "docker_group" {
  type        = bool
  default     = false
  description = "Whether jobs may use Docker (container jobs, services). Who may use Docker is root on the machine."
}

variable "log_group" {
  type        = string
  default     = ""
  description = "The group of CloudWatch Logs that machines send their console's lines to; none, if not given."
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "subnet_id" {
  type        = string
  default     = null
  description = "Where to build; the default VPC, if not given."
}

variable "volume_size" {
  type        = number
  default     = 30
  description = "Of the root volume, in GiB. A launch template may make it larger."
}

locals {
  built         = timestamp()
  instance_type = { amd64 = "m7i.large", arm64 = "m7g.large" }[var.arch]
  base = {
    "ubuntu-24.04" = {
      owner = "099720109477" # Canonical
      image = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-${var.arch}-server-*"
      disk  = "/dev/sda1"
      user  = "ubuntu"
    }
    "debian-12" = {
      owner = "136693071363" # Debian (wiki.debian.org/Cloud/AmazonEC2Image)
      image = "debian-12-${var.arch}-*"
      disk  = "/dev/xvda"
      user  = "admin"
    }
  }[var.base]
  tags = {
    "Name"                         = "runner-scaler ${var.arch}"
    "runner-scaler:arch"           = var.arch
    "runner-scaler:base"           = var.base
    "runner-scaler:runner-version" = var.runner_version
    "runner-scaler:built"          = local.built
  }
}

# Not runner-scaler:fleet: the scaler takes an instance with that tag for its own. It is on what builds the image too, whose
# tags image and snapshot have from the call that makes them (hashicorp/packer-plugin-amazon#327): by it the build's role
# removes what a build that fails leaves.
locals { owner = { "runner-scaler:image-of" = var.fleet } }

source "amazon-ebs" "runner" {
  region        = var.region
  subnet_id     = var.subnet_id
  instance_type = local.instance_type
  ssh_username  = local.base.user

  ssh_clear_authorized_keys = true # the build's key, not a launch's

  temporary_security_group_source_public_ip = true # modern

  ami_name     = "runner-scaler-${var.arch}-${var.runner_version}-${formatdate("YYYYMMDD-hhmmss", local.built)}"
  imds_support = "v2.0" # modern

  source_ami_filter {
    filters = {
      name                = local.base.image
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = [local.base.owner]
    most_recent = true
  }

  # The snapshot of an encrypted disk is encrypted; `encrypt_boot` would copy the image once more, for minutes.
  launch_block_device_mappings {
    device_name           = local.base.disk
    volume_type           = "gp3"
    volume_size           = var.volume_size
    iops                  = 3000
    throughput            = 125
    encrypted             = true
    delete_on_termination = true
  }

  metadata_options { http_tokens = "required" } # modern

  tags            = merge(local.tags, local.owner)
  snapshot_tags   = merge(local.tags, local.owner)
  run_tags        = merge(local.tags, local.owner, { "Name" = "packer runner-scaler ${var.arch}" })
  run_volume_tags = local.tags
}

build {
  sources = ["source.amazon-ebs.runner"]

  # cloud-init and apt would else be at the same files. It ends with 2 after errors that it got over.
  provisioner "shell" {
    inline = ["cloud-init status --wait || test $? -eq 2", "mkdir /tmp/runner-scaler"]
  }

  provisioner "file" {
    sources = [
      "${path.root}/init-runner.sh",
      "${path.root}/ship-logs.sh",
      "${path.root}/runner-scaler.service",
      "${path.root}/runner-scaler-lifetime.service",
      "${path.root}/runner-scaler-lifetime.timer",
      "${path.root}/runner-scaler-logs.service",
    ]
    destination = "/tmp/runner-scaler/"
  }

  provisioner "shell" {
    execute_command = "sudo env {{ .Vars }} bash '{{ .Path }}'"
    environment_vars = [
      "ARCH=${var.arch}",
      "AWS_CLI_MIRROR=${var.aws_cli_mirror}",
      "AWS_CLI_SHA256=${var.aws_cli_sha256}",
      "AWS_CLI_VERSION=${var.aws_cli_version}",
      "DOCKER_GROUP=${var.docker_group}",
      "LOG_GROUP=${var.log_group}",
      "RUNNER_MIRROR=${var.runner_mirror}",
      "RUNNER_SHA256=${var.runner_sha256}",
      "RUNNER_VERSION=${var.runner_version}",
    ]
    scripts = [
      "${path.root}/install-dependencies.sh",
      "${path.root}/install-aws-cli.sh",
      "${path.root}/install-runner.sh",
    ]
  }

  post-processor "manifest" {
    output     = "manifest.json"
    strip_path = true
    custom_data = {
      arch           = var.arch
      runner_version = var.runner_version
    }
  }
}
