# What each tier may do, and nothing else: roles, so that no key exists anywhere. docs/DEPLOYING.md gives the reason for
# each permission. Where EC2 knows no resource for an action, "*" is the only one it takes; all else is named.

locals {
  arn = {
    for kind in ["instance", "volume", "network-interface", "spot-instances-request"] :
    kind => "arn:${local.partition}:ec2:${var.region}:${local.account}:${kind}/*"
  }

  web_queues = {
    Submit    = [["request"], ["sqs:SendMessage", "sqs:GetQueueAttributes"]]
    Answers   = [["response"], ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]]
    Terminate = [["terminate_request"], ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]]
    Hear      = [["terminate_confirm", "dead"], ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]]
  }
  app_queues = {
    Work = [["request", "terminate_request"], ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]]
    Tell = [["response", "terminate_confirm", "dead"], ["sqs:SendMessage"]]
  }
}

resource "aws_iam_role" "tier" {
  for_each = toset(["web", "app"])

  name        = "${var.name}-${each.key}"
  description = "The ${each.key} tier of ${var.name}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_instance_profile" "tier" {
  for_each = aws_iam_role.tier

  name = each.value.name
  role = each.value.name
}

resource "aws_iam_role_policy" "web" {
  name = "bellows"
  role = aws_iam_role.tier["web"].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [for id, grant in local.web_queues : {
        Sid      = id
        Effect   = "Allow"
        Action   = grant[1]
        Resource = [for name in grant[0] : local.queue_arns[name]]
      }],
      [
        {
          Sid      = "PutImages"
          Effect   = "Allow"
          Action   = ["s3:PutObject", "s3:DeleteObject"]
          Resource = "${aws_s3_bucket.main["input"].arn}/*"
        },
        {
          Sid      = "ResultsAndControlObject"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject"]
          Resource = "${aws_s3_bucket.main["output"].arn}/*"
        },
        {
          Sid      = "TellAbsentFromDenied"
          Effect   = "Allow"
          Action   = ["s3:ListBucket"]
          Resource = [for bucket in aws_s3_bucket.main : bucket.arn]
        },
        {
          Sid      = "SeeThePool"
          Effect   = "Allow"
          Action   = ["ec2:DescribeInstances", "ec2:DescribeLaunchTemplateVersions"]
          Resource = "*"
        },
        {
          Sid      = "LaunchFromOurTemplate"
          Effect   = "Allow"
          Action   = ["ec2:RunInstances"]
          Resource = aws_launch_template.app.arn
        },
        {
          Sid      = "LaunchWithTheTemplatesImage"
          Effect   = "Allow"
          Action   = ["ec2:RunInstances"]
          Resource = "arn:${local.partition}:ec2:${var.region}::image/*"
          Condition = {
            ArnEquals = { "ec2:LaunchTemplate" = aws_launch_template.app.arn }
            Bool      = { "ec2:IsLaunchTemplateResource" = "true" }
          }
        },
        {
          Sid       = "LaunchIntoOurNetwork"
          Effect    = "Allow"
          Action    = ["ec2:RunInstances"]
          Resource  = concat([aws_security_group.app.arn], values(local.app_subnets)[*].arn)
          Condition = { ArnEquals = { "ec2:LaunchTemplate" = aws_launch_template.app.arn } }
        },
        {
          Sid       = "LaunchWithVolumeAndInterface"
          Effect    = "Allow"
          Action    = ["ec2:RunInstances"]
          Resource  = [local.arn["volume"], local.arn["network-interface"]]
          Condition = { ArnEquals = { "ec2:LaunchTemplate" = aws_launch_template.app.arn } }
        },
        {
          Sid      = "LaunchMembersOfThePool"
          Effect   = "Allow"
          Action   = ["ec2:RunInstances"]
          Resource = local.arn["instance"]
          Condition = {
            ArnEquals = { "ec2:LaunchTemplate" = aws_launch_template.app.arn }
            StringEquals = {
              "aws:RequestTag/bellows:pool" = var.name
              "ec2:InstanceType"            = var.app_instance_types
              "ec2:MetadataHttpTokens"      = "required"
            }
          }
        },
        {
          Sid       = "TagWhatIsLaunched"
          Effect    = "Allow"
          Action    = ["ec2:CreateTags"]
          Resource  = [local.arn["instance"], local.arn["volume"], local.arn["network-interface"]]
          Condition = { StringEquals = { "ec2:CreateAction" = "RunInstances" } }
        },
        {
          Sid      = "NameMembersOfThePool"
          Effect   = "Allow"
          Action   = ["ec2:CreateTags"]
          Resource = local.arn["instance"]
          Condition = {
            StringEquals                = { "aws:ResourceTag/bellows:pool" = var.name }
            "ForAllValues:StringEquals" = { "aws:TagKeys" = ["Name"] }
          }
        },
        {
          Sid       = "EndMembersOfThePool"
          Effect    = "Allow"
          Action    = ["ec2:TerminateInstances"]
          Resource  = local.arn["instance"]
          Condition = { StringEquals = { "aws:ResourceTag/bellows:pool" = var.name } }
        },
        {
          Sid       = "HandOverTheAppRole"
          Effect    = "Allow"
          Action    = ["iam:PassRole"]
          Resource  = aws_iam_role.tier["app"].arn
          Condition = { StringEquals = { "iam:PassedToService" = "ec2.amazonaws.com" } }
        },
      ],
      [for spot in [var.spot] : {
        Sid       = "LaunchSpot"
        Effect    = "Allow"
        Action    = ["ec2:RunInstances"]
        Resource  = local.arn["spot-instances-request"]
        Condition = { ArnEquals = { "ec2:LaunchTemplate" = aws_launch_template.app.arn } }
      } if spot],
    )
  })
}

resource "aws_iam_role_policy" "app" {
  name = "bellows"
  role = aws_iam_role.tier["app"].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [for id, grant in local.app_queues : {
        Sid      = id
        Effect   = "Allow"
        Action   = grant[1]
        Resource = [for name in grant[0] : local.queue_arns[name]]
      }],
      [
        {
          Sid      = "GetImages"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = "${aws_s3_bucket.main["input"].arn}/*"
        },
        {
          Sid      = "ReadResultsAndControlObject"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = [for prefix in ["results/*", "control/pool.json"] : "${aws_s3_bucket.main["output"].arn}/${prefix}"]
        },
        {
          # label objects are named by clients: so all but what belongs to the web tier
          Sid      = "PutResultsAndLabels"
          Effect   = "Allow"
          Action   = ["s3:PutObject"]
          Resource = "${aws_s3_bucket.main["output"].arn}/*"
        },
        {
          Sid      = "LeaveTheWebTiersObjectsAlone"
          Effect   = "Deny"
          Action   = ["s3:PutObject"]
          Resource = [for prefix in ["batches/*", "control/*", "dead/*"] : "${aws_s3_bucket.main["output"].arn}/${prefix}"]
        },
        {
          Sid      = "TellAbsentFromDenied"
          Effect   = "Allow"
          Action   = ["s3:ListBucket"]
          Resource = [for bucket in aws_s3_bucket.main : bucket.arn]
        },
      ],
    )
  })
}
