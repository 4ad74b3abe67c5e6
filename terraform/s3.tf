# Input and output bucket. Lifecycle is in days; the daemon's times (config.tf) are shorter, so that nothing is deleted
# that it may still need.

locals {
  buckets = {
    input = {
      name = var.input_bucket_name
      days = local.days.inputs
    }
    output = {
      name = var.output_bucket_name
      days = local.days.results
    }
  }
}

resource "aws_s3_bucket" "main" {
  #checkov:skip=CKV_AWS_18:Access logs are billed by request and hold nothing that the daemon's own log has not.
  #checkov:skip=CKV_AWS_21:Results are written once and never replaced, images neither; versions would only outlive their lifecycle.
  #checkov:skip=CKV_AWS_144:Images and results live for days and can be sent again; a second region would double the bill.
  #checkov:skip=CKV_AWS_145:SSE-S3 encrypts at rest without a key's monthly price and without a call to KMS for each image.
  #checkov:skip=CKV2_AWS_62:Only incoming/ of the input bucket raises events; the output bucket has no reader for any.
  for_each = local.buckets

  bucket        = each.value.name != "" ? each.value.name : "${var.name}-${each.key}-${local.account}-${var.region}"
  force_destroy = !var.keep_data
  tags          = { Name = "${var.name}-${each.key}" }
}

resource "aws_s3_bucket_public_access_block" "main" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.main[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "main" {
  for_each = local.buckets

  bucket = aws_s3_bucket.main[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "main" {
  for_each = local.buckets

  bucket = aws_s3_bucket.main[each.key].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

# The control object (control/pool.json) is written every 20 s while a web tier lives: it never grows old.
resource "aws_s3_bucket_lifecycle_configuration" "main" {
  for_each = local.buckets

  bucket = aws_s3_bucket.main[each.key].id

  rule {
    id     = "expire"
    status = "Enabled"

    filter {}

    expiration {
      days = each.value.days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_policy" "main" {
  for_each = local.buckets

  bucket = aws_s3_bucket.main[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyWithTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.main[each.key].arn, "${aws_s3_bucket.main[each.key].arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  # S3 takes one change of a bucket's access at a time
  depends_on = [aws_s3_bucket_public_access_block.main]
}

# Whatever is put below incoming/ is classified. The web tier's own images lie elsewhere and raise nothing.
resource "aws_s3_bucket_notification" "incoming" {
  bucket = aws_s3_bucket.main["input"].id

  queue {
    id            = "incoming"
    queue_arn     = aws_sqs_queue.request.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "incoming/"
  }
}
