# `nix run .#publish -- --region REGION`: both images, registered in that region by packer/image.pkr.hcl. Credentials are
# found as the AWS command line finds them. images.json gets the ids.
{
  writeShellApplication,
  coreutils,
  packer,
  zstd,
  images,
  revision,
}:
writeShellApplication {
  name = "bellows-publish";
  runtimeInputs = [
    coreutils
    packer
    zstd
  ];
  text = ''
    if [ "''${1:-}" != --region ] || [ -z "''${2:-}" ]; then
      echo "usage: publish --region REGION [PACKER OPTION...]" >&2
      exit 64
    fi
    region=$2
    shift 2
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cp ${../packer/image.pkr.hcl} "$folder/image.pkr.hcl"
    packer init "$folder/image.pkr.hcl"
    publish() {
      local role=$1 model=$2 raw
      shift 2
      raw=$(echo "$1"/*.raw)
      shift
      zstd -q -T0 -f "$raw" -o "$folder/$role.zst"
      read -r sha256 _ < <(sha256sum "$raw")
      packer build "$@" -var "role=$role" -var "model=$model" -var "image=$folder/$role.zst" -var "sha256=$sha256" \
        -var "bytes=$(stat -c %s "$raw")" -var "revision=${revision}" -var "region=$region" -var "manifest=images.json" \
        "$folder/image.pkr.hcl"
    }
    publish web none ${images.web} "$@"
    publish app efficientnet-lite0 ${images.app} "$@"
    echo "registered: images.json"
  '';
}
