# Values of this deployment. variables.tf has all of them with their defaults; these are the ones to look at.

# Required: the networks that reach the service.
client_cidrs = []

# Required, unless allow_anonymous: who may upload, by hash, as `bellows token new NAME` prints it.
tokens = []

# Optional: logging in to the web tier, from these networks.
ssh_public_key = ""
ssh_cidrs      = []

# Optional: names of the buckets. Empty ones are made up of name, account and region.
input_bucket_name  = ""
output_bucket_name = ""
