variable "name" {
  description = "Names this deployment: prefix of all that is made, and the pool's name. Two of them live side by side under two names."
  type        = string
  default     = "bellows"

  validation {
    # bucket names take 63 characters, load balancers 32; both get a suffix
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "name: 2 to 20 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "region" {
  description = "Where it runs. Prices are those of us-east-1."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region: an AWS region such as \"us-east-1\"."
  }
}

variable "tags" {
  description = "Further tags of all that is made."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(key, "bellows:") && !startswith(key, "aws:")])
    error_message = "tags: keys that begin with \"bellows:\" or \"aws:\" are taken: the pool is found by them."
  }
  validation {
    # an instance reads its tags from the metadata service, which refuses others, and with them the launch
    condition     = alltrue([for key in keys(var.tags) : can(regex("^[A-Za-z0-9+=.,_:@-]{1,128}$", key))])
    error_message = "tags: keys of letters, digits and + - = . , _ : @ only: instances read their tags from the metadata service, which knows no others."
  }
}

# Who may use it

variable "client_cidrs" {
  description = "Networks that reach the service, as IPv4 CIDR blocks."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.client_cidrs) > 0
    error_message = "client_cidrs: name the networks that may reach the service, for instance [\"203.0.113.7/32\"]; with tokens [\"0.0.0.0/0\"] is possible."
  }
  validation {
    condition     = alltrue([for cidr in var.client_cidrs : can(cidrnetmask(cidr))])
    error_message = "client_cidrs: each an IPv4 network such as \"203.0.113.0/24\"."
  }
}

variable "tokens" {
  description = "Who may upload, by hash: NAME:sha256:HEX[:max_outstanding=N], as `bellows token new NAME` prints it."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for token in var.tokens : can(regex("^[A-Za-z0-9._-]{1,64}:sha256:[0-9a-f]{64}(:max_outstanding=[1-9][0-9]*)?$", token))])
    error_message = "tokens: each NAME:sha256:HEX, the second line that `bellows token new NAME` prints. A token itself does not belong here: it would stay in the state."
  }
  validation {
    condition     = length(var.tokens) > 0 || var.allow_anonymous
    error_message = "tokens: nobody could upload. `bellows token new NAME` prints a token and the entry for this list (or set allow_anonymous = true and keep client_cidrs narrow)."
  }
}

variable "allow_anonymous" {
  description = "Let everybody in who is in client_cidrs."
  type        = bool
  default     = false

  validation {
    # two halves of the Internet are the Internet: so a bound, not a comparison with 0.0.0.0/0
    condition     = !var.allow_anonymous || alltrue([for cidr in var.client_cidrs : try(tonumber(split("/", cidr)[1]) >= 8, true)])
    error_message = "allow_anonymous: not together with a network larger than /8 in client_cidrs: the whole Internet could upload at your expense. Use tokens, or name the networks."
  }
}

variable "metrics_cidrs" {
  description = "Networks that may scrape /metrics on port 9464 of the web tier. None: it stays on the instance itself."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.metrics_cidrs : can(cidrnetmask(cidr)) && try(tonumber(split("/", cidr)[1]) >= 8, false)])
    error_message = "metrics_cidrs: IPv4 networks of /8 or smaller: metrics have no tokens."
  }
}

variable "ssh_public_key" {
  description = "Public key that may log in to the web tier, where its image runs an SSH server. \"\": nobody may."
  type        = string
  default     = ""

  validation {
    condition     = var.ssh_public_key == "" || can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-[a-z0-9-]+) [A-Za-z0-9+/=]+", var.ssh_public_key))
    error_message = "ssh_public_key: the content of the .pub file. A private key never belongs here."
  }
}

variable "ssh_cidrs" {
  description = "Networks that may reach port 22 of the web tier; needs ssh_public_key."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.ssh_cidrs : can(cidrnetmask(cidr)) && try(tonumber(split("/", cidr)[1]) >= 8, false)])
    error_message = "ssh_cidrs: IPv4 networks of /8 or smaller."
  }
  validation {
    condition     = (length(var.ssh_cidrs) > 0) == (var.ssh_public_key != "")
    error_message = "ssh_cidrs: belongs together with ssh_public_key; set both or neither."
  }
}

# Images and machines

variable "web_ami_id" {
  description = "Image of the web tier. \"\": the newest of this account that is tagged bellows:role = web."
  type        = string
  default     = ""

  validation {
    condition     = var.web_ami_id == "" || can(regex("^ami-[0-9a-f]+$", var.web_ami_id))
    error_message = "web_ami_id: an image's id such as \"ami-0123456789abcdef0\", or \"\"."
  }
}

variable "app_ami_id" {
  description = "Image of the app tier. \"\": the newest of this account that is tagged bellows:role = app."
  type        = string
  default     = ""

  validation {
    condition     = var.app_ami_id == "" || can(regex("^ami-[0-9a-f]+$", var.app_ami_id))
    error_message = "app_ami_id: an image's id such as \"ami-0123456789abcdef0\", or \"\"."
  }
}

variable "web_instance_type" {
  description = "Type of the one web instance."
  type        = string
  default     = "t3.small"
}

variable "app_instance_types" {
  description = "Types of app instances in order of preference: where one cannot be had, the next is tried."
  type        = list(string)
  default     = ["c7i.large", "c6i.large", "m7i.large", "c5.large"]

  validation {
    condition     = length(var.app_instance_types) > 0 && alltrue([for type in var.app_instance_types : can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", type))])
    error_message = "app_instance_types: at least one type such as \"c7i.large\"."
  }
}

variable "max_instances" {
  description = "Most app instances at once: the bound of the bill."
  type        = number
  default     = 20

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 1000 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances: a whole number from 1 to 1000."
  }
}

variable "min_instances" {
  description = "App instances kept when nothing waits."
  type        = number
  default     = 0

  validation {
    condition     = var.min_instances >= 0 && floor(var.min_instances) == var.min_instances && var.min_instances <= var.max_instances
    error_message = "min_instances: a whole number from 0 to max_instances."
  }
}

variable "spot" {
  description = "Launch spot instances in the app tier."
  type        = bool
  default     = false
}

variable "spot_fallback" {
  description = "Launch on-demand instances where no spot instance can be had."
  type        = bool
  default     = true
}

# Network

variable "vpc_cidr" {
  description = "Addresses of the VPC: IPv4, /16 to /24."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 24, false)
    error_message = "vpc_cidr: an IPv4 network from /16 to /24, such as \"10.20.0.0/16\"."
  }
}

variable "zones" {
  description = "The two zones. []: the first two of the region. What has no capacity in one is launched in the other."
  type        = list(string)
  default     = []

  validation {
    condition     = contains([0, 2], length(distinct(var.zones))) && alltrue([for zone in var.zones : startswith(zone, var.region)])
    error_message = "zones: two zones of the region, such as [\"us-east-1b\", \"us-east-1c\"], or []."
  }
}

variable "private" {
  description = "App tier (and web tier, behind a load balancer) without public addresses; reaches SQS and EC2 through interface endpoints, which cost by the hour."
  type        = bool
  default     = false
}

variable "certificate_arn" {
  description = "ACM certificate: puts a load balancer with TLS on port 443 in front, and closes port 3000 to everybody else. \"\": none."
  type        = string
  default     = ""

  validation {
    condition     = var.certificate_arn == "" || can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/[0-9a-f-]+$", var.certificate_arn))
    error_message = "certificate_arn: the ARN of an ACM certificate in the same region, or \"\"."
  }
}

variable "hostname" {
  description = "Name under which the load balancer is reached, as the certificate has it: for the url output. The DNS record is yours to make."
  type        = string
  default     = ""
}

# The service

variable "web_wait_seconds" {
  description = "How long an upload is held open for its label (web.wait)."
  type        = number
  default     = 300

  validation {
    # a load balancer's idle time-out is at most 4,000 s
    condition     = var.web_wait_seconds >= 0 && var.web_wait_seconds <= 3970 && floor(var.web_wait_seconds) == var.web_wait_seconds
    error_message = "web_wait_seconds: a whole number from 0 to 3970."
  }
}

variable "settings" {
  description = "Further settings of the daemon, by section: { pool = { policy = \"deadline\" }, app = { pause = \"2s\" } }. src/config.default.toml has them all."
  type        = any
  default     = {}

  validation {
    condition     = can({ for section, values in var.settings : section => { for key, value in values : key => jsonencode(value) } })
    error_message = "settings: sections with keys, such as { pool = { policy = \"deadline\" } }; a section below another is written { \"queue.urls\" = { … } }."
  }
  validation {
    condition     = try(length(setintersection(keys(var.settings), ["aws", "bucket", "queue", "queue.urls", "retention"])), 0) == 0
    error_message = "settings: aws, bucket, queue and retention follow from what Terraform makes and cannot be set here."
  }
  validation {
    condition     = try(length(setintersection(flatten([for section, values in var.settings : [for key in keys(values) : "${section}.${key}"]]), ["web.listen", "web.wait", "web.tokens", "web.allow_anonymous", "metrics.listen", "pool.name", "pool.max_instances", "pool.min_instances"])), 0) == 0
    error_message = "settings: listen addresses, web.wait, tokens, allow_anonymous and the pool's name and size have variables of their own."
  }
}

variable "input_bucket_name" {
  description = "Name of the input bucket. \"\": NAME-input-ACCOUNT-REGION."
  type        = string
  default     = ""

  validation {
    condition     = var.input_bucket_name == "" || can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.input_bucket_name))
    error_message = "input_bucket_name: 3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "output_bucket_name" {
  description = "Name of the output bucket. \"\": NAME-output-ACCOUNT-REGION."
  type        = string
  default     = ""

  validation {
    condition     = var.output_bucket_name == "" || can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.output_bucket_name))
    error_message = "output_bucket_name: 3 to 63 lower-case letters, digits and hyphens."
  }
  validation {
    condition     = var.output_bucket_name == "" || var.output_bucket_name != var.input_bucket_name
    error_message = "output_bucket_name: another name than input_bucket_name."
  }
}

variable "keep_data" {
  description = "Let `terraform destroy` stop at buckets that are not empty, instead of deleting images and results with them."
  type        = bool
  default     = false
}

variable "alarm_topic_arns" {
  description = "SNS topics that alarms are sent to."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.alarm_topic_arns : can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$", arn))])
    error_message = "alarm_topic_arns: ARNs of SNS topics."
  }
}
