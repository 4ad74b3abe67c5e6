output "url" {
  description = "Where to upload. Without a load balancer this is the web instance's address at the last apply or refresh."
  value = local.tls ? "https://${var.hostname != "" ? var.hostname : aws_lb.web[0].dns_name}/" : (
    length(data.aws_instances.web.public_ips) > 0 ? "http://${data.aws_instances.web.public_ips[0]}:3000/" : null
  )
}

output "web_instance_ids" {
  description = "The web tier's instance at the last apply or refresh."
  value       = data.aws_instances.web.ids
}

output "web_public_ips" {
  description = "Its public address, where it has one."
  value       = data.aws_instances.web.public_ips
}

output "request_queue_url" {
  value = aws_sqs_queue.request.url
}

output "response_queue_url" {
  value = aws_sqs_queue.response.url
}

output "terminate_request_queue_url" {
  value = aws_sqs_queue.terminate_request.url
}

output "terminate_confirm_queue_url" {
  value = aws_sqs_queue.terminate_confirm.url
}

output "dead_letter_queue_url" {
  value = aws_sqs_queue.dead.url
}

output "input_bucket_name" {
  value = aws_s3_bucket.main["input"].bucket
}

output "output_bucket_name" {
  value = aws_s3_bucket.main["output"].bucket
}

output "app_ami_id" {
  value = aws_launch_template.app.image_id
}

output "web_ami_id" {
  value = aws_launch_template.web.image_id
}

output "app_launch_template_id" {
  value = aws_launch_template.app.id
}

output "web_autoscaling_group_name" {
  value = aws_autoscaling_group.web.name
}

output "vpc_id" {
  value = aws_vpc.main.id
}

output "web_config" {
  description = "User data of the web tier: what `bellows check-config --config FILE` takes."
  value       = module.web_config.text
}

output "app_config" {
  description = "User data of the app tier."
  value       = module.app_config.text
}

output "idle_usd_per_month" {
  description = "What an idle month costs by prices.json (us-east-1, before tax and free tiers): all that is billed by time. Calls and stored images come on top (docs/DEPLOYING.md). null: a type that prices.json has not."
  value       = try(floor(local.idle_usd_per_hour * local.hours * 100 + 0.5) / 100, null)
}

output "app_usd_per_hour" {
  description = "What one app instance of the first type costs while it runs, on demand."
  value       = try(local.prices.instance_hour[var.app_instance_types[0]] + local.address * (var.private ? 0 : 1) + local.disk, null)
}

locals {
  prices = jsondecode(file("${path.module}/prices.json")).usd
  # a month as AWS counts it
  hours   = 730
  address = local.prices.public_ipv4_hour
  disk    = local.prices.gp3_gb_month * local.root_gb / local.hours

  # root disks are as large as the image's; of several mappings the first is the root
  root_gb = max([for image in data.aws_ami.tier : try(tonumber(one([for mapping in image.block_device_mappings : mapping.ebs.volume_size if mapping.device_name == image.root_device_name])), 0)]...)

  idle_usd_per_hour = (
    local.prices.instance_hour[var.web_instance_type]
    + local.disk
    + (var.private && local.tls ? 0 : local.address)
    + length(local.interface_endpoints) * length(local.zones) * local.prices.interface_endpoint_zone_hour
    # a balancer has an address in each zone
    + (local.tls ? local.prices.load_balancer_hour + length(local.zones) * local.address : 0)
    + 3 * local.prices.alarm_month / local.hours
    + var.min_instances * (local.prices.instance_hour[var.app_instance_types[0]] + local.disk + (var.private ? 0 : local.address))
  )
}
