# The original's four queues, and the dead letters of the request queue. Times are in config.tf: the daemon is told the
# same ones.

locals {
  # Known before they are made, so that each queue is made with its policy
  queue_names = {
    for queue in ["request", "response", "terminate_request", "terminate_confirm"] : queue => "${var.name}-${queue}_queue"
  }
  dead_name  = "${var.name}-dead_letter_queue"
  queue_arns = { for queue, name in merge(local.queue_names, { dead = local.dead_name }) : queue => "arn:${local.partition}:sqs:${var.region}:${local.account}:${name}" }

  # Nobody without TLS; and S3 may tell the request queue of objects in our input bucket.
  queue_policies = {
    for queue, arn in local.queue_arns : queue => jsonencode({
      Version = "2012-10-17"
      Statement = concat(
        [{
          Sid       = "OnlyWithTls"
          Effect    = "Deny"
          Principal = "*"
          Action    = "sqs:*"
          Resource  = arn
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        }],
        [for only in ["request"] : {
          Sid       = "ObjectsOfOurBucket"
          Effect    = "Allow"
          Principal = { Service = "s3.amazonaws.com" }
          Action    = "sqs:SendMessage"
          Resource  = arn
          Condition = {
            ArnEquals    = { "aws:SourceArn" = aws_s3_bucket.main["input"].arn }
            StringEquals = { "aws:SourceAccount" = local.account }
          }
        } if only == queue]
      )
    })
  }

  queues = {
    request           = aws_sqs_queue.request
    response          = aws_sqs_queue.response
    terminate_request = aws_sqs_queue.terminate_request
    terminate_confirm = aws_sqs_queue.terminate_confirm
    dead              = aws_sqs_queue.dead
  }
}

resource "aws_sqs_queue" "request" {
  name                       = local.queue_names.request
  policy                     = local.queue_policies.request
  visibility_timeout_seconds = local.seconds.visibility
  message_retention_seconds  = local.seconds.retention
  sqs_managed_sse_enabled    = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = local.max_receives
  })

  # Destroyed before it: a worker that is left over ends because its queue is gone, which it must be allowed to see.
  depends_on = [aws_iam_role_policy.app]
}

resource "aws_sqs_queue" "response" {
  name                       = local.queue_names.response
  policy                     = local.queue_policies.response
  visibility_timeout_seconds = local.seconds.visibility
  message_retention_seconds  = local.seconds.retention
  sqs_managed_sse_enabled    = true
}

# A terminate request lives for two job deadlines; one that its leader never took back is gone soon after.
resource "aws_sqs_queue" "terminate_request" {
  name                       = local.queue_names.terminate_request
  policy                     = local.queue_policies.terminate_request
  visibility_timeout_seconds = local.seconds.visibility
  message_retention_seconds  = 300
  sqs_managed_sse_enabled    = true
}

resource "aws_sqs_queue" "terminate_confirm" {
  name                       = local.queue_names.terminate_confirm
  policy                     = local.queue_policies.terminate_confirm
  visibility_timeout_seconds = local.seconds.visibility
  message_retention_seconds  = local.seconds.retention
  sqs_managed_sse_enabled    = true
}

resource "aws_sqs_queue" "dead" {
  name                       = local.dead_name
  policy                     = local.queue_policies.dead
  visibility_timeout_seconds = local.seconds.visibility
  message_retention_seconds  = local.seconds.dead_retention
  sqs_managed_sse_enabled    = true

  # only our request queue may put its dead letters there
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.queue_arns.request]
  })
}

# A dead letter is answered and deleted by the leader within seconds, so that a depth sampled each minute misses it:
# what the leader deleted is counted, and apart from that what nobody deletes.
resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "Images were given up after ${local.max_receives} attempts: see dead/ in the output bucket"
  namespace           = "AWS/SQS"
  metric_name         = "NumberOfMessagesDeleted"
  dimensions          = { QueueName = aws_sqs_queue.dead.name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
}

resource "aws_cloudwatch_metric_alarm" "dead_letters_unanswered" {
  alarm_name          = "${var.name}-dead-letters-unanswered"
  alarm_description   = "Dead letters lie there for 15 minutes: no leader answers them"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead.name }
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}

resource "aws_cloudwatch_metric_alarm" "oldest_request" {
  alarm_name          = "${var.name}-oldest-request"
  alarm_description   = "An image has waited for longer than web.wait and five minutes"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.request.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  threshold           = var.web_wait_seconds + 300
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}
