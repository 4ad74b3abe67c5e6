# Two zones. Public subnets without any inbound rule for the app tier cost nothing; a NAT gateway or interface endpoints
# would cost more than a pool at zero. `private` trades that for app instances without public addresses.

locals {
  zones = length(var.zones) > 0 ? var.zones : slice(data.aws_availability_zones.available.names, 0, 2)
  tls   = var.certificate_arn != ""

  app_subnets = var.private ? aws_subnet.private : aws_subnet.public
  web_subnets = var.private && local.tls ? aws_subnet.private : aws_subnet.public

  interface_endpoints = var.private ? toset(["ec2", "sqs"]) : toset([])
}

resource "aws_vpc" "main" {
  #checkov:skip=CKV2_AWS_11:Flow logs are billed by volume and nothing here reads them; whoever needs them adds them to the VPC.
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

# What is in no group of ours talks to nobody.
resource "aws_default_security_group" "none" {
  vpc_id = aws_vpc.main.id
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = var.name }
}

resource "aws_subnet" "public" {
  #checkov:skip=CKV_AWS_130:Public addresses stand in for a NAT gateway; security groups admit nothing to the app tier. `private` is the other way.
  for_each = { for index, zone in local.zones : zone => index }

  vpc_id                  = aws_vpc.main.id
  availability_zone       = each.key
  cidr_block              = cidrsubnet(var.vpc_cidr, 2, each.value)
  map_public_ip_on_launch = true
  tags                    = { Name = "${var.name}-public-${each.key}" }
}

resource "aws_subnet" "private" {
  for_each = { for index, zone in local.zones : zone => index if var.private }

  vpc_id            = aws_vpc.main.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.vpc_cidr, 2, 2 + each.value)
  tags              = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = "${var.name}-public" }
}

resource "aws_route" "internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.main.id
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  subnet_id      = each.value.id
  route_table_id = aws_route_table.public.id
}

# No way out but the endpoints.
resource "aws_route_table" "private" {
  count = var.private ? 1 : 0

  vpc_id = aws_vpc.main.id
  tags   = { Name = "${var.name}-private" }
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  subnet_id      = each.value.id
  route_table_id = aws_route_table.private[0].id
}

# Costs nothing, keeps images off the Internet, and reaches no bucket but ours.
resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.main.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = concat([aws_route_table.public.id], aws_route_table.private[*].id)
  tags              = { Name = "${var.name}-s3" }

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OurBuckets"
      Effect    = "Allow"
      Principal = "*"
      Action    = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"]
      Resource  = flatten([for bucket in aws_s3_bucket.main : [bucket.arn, "${bucket.arn}/*"]])
      # gateway endpoints know no role as a principal, only as a condition
      Condition = { ArnEquals = { "aws:PrincipalArn" = [for role in aws_iam_role.tier : role.arn] } }
    }]
  })
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.interface_endpoints

  vpc_id              = aws_vpc.main.id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = values(aws_subnet.private)[*].id
  security_group_ids  = [aws_security_group.endpoints[0].id]
  private_dns_enabled = true
  tags                = { Name = "${var.name}-${each.key}" }
}

# Security groups. Rules are resources of their own, so that a changed rule is not a changed group.

resource "aws_security_group" "web" {
  name        = "${var.name}-web"
  description = "Web tier: port 3000 from clients or the load balancer"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.name}-web" }
}

resource "aws_security_group" "app" {
  name        = "${var.name}-app"
  description = "App tier: nothing comes in"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.name}-app" }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = local.tls ? toset([]) : toset(var.client_cidrs)

  security_group_id = aws_security_group.web.id
  description       = "Clients"
  ip_protocol       = "tcp"
  from_port         = 3000
  to_port           = 3000
  cidr_ipv4         = each.key
}

resource "aws_vpc_security_group_ingress_rule" "balanced" {
  count = local.tls ? 1 : 0

  security_group_id            = aws_security_group.web.id
  description                  = "Load balancer"
  ip_protocol                  = "tcp"
  from_port                    = 3000
  to_port                      = 3000
  referenced_security_group_id = aws_security_group.balancer[0].id
}

resource "aws_vpc_security_group_ingress_rule" "metrics" {
  for_each = toset(var.metrics_cidrs)

  security_group_id = aws_security_group.web.id
  description       = "Prometheus"
  ip_protocol       = "tcp"
  from_port         = 9464
  to_port           = 9464
  cidr_ipv4         = each.key
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each = toset(var.ssh_cidrs)

  security_group_id = aws_security_group.web.id
  description       = "SSH"
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = each.key
}

# AWS is reached over HTTPS; names and time are asked of the VPC itself, which no group filters.
resource "aws_vpc_security_group_egress_rule" "aws" {
  for_each = { web = aws_security_group.web.id, app = aws_security_group.app.id }

  security_group_id = each.value
  description       = "AWS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_security_group" "endpoints" {
  count = var.private ? 1 : 0

  name        = "${var.name}-endpoints"
  description = "Interface endpoints: HTTPS from both tiers"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.name}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each = var.private ? { web = aws_security_group.web.id, app = aws_security_group.app.id } : {}

  security_group_id            = aws_security_group.endpoints[0].id
  description                  = "The ${each.key} tier"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = each.value
}

resource "aws_security_group" "balancer" {
  count = local.tls ? 1 : 0

  name        = "${var.name}-balancer"
  description = "Load balancer: HTTPS from clients"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.name}-balancer" }
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  for_each = local.tls ? toset(var.client_cidrs) : toset([])

  security_group_id = aws_security_group.balancer[0].id
  description       = "Clients"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.key
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  count = local.tls ? 1 : 0

  security_group_id            = aws_security_group.balancer[0].id
  description                  = "Web tier"
  ip_protocol                  = "tcp"
  from_port                    = 3000
  to_port                      = 3000
  referenced_security_group_id = aws_security_group.web.id
}
