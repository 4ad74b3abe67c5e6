# The daemon, with AWS.
{
  lib,
  rustPlatform,
}:
rustPlatform.buildRustPackage {
  pname = "bellows";
  inherit ((fromTOML (builtins.readFile ../Cargo.toml)).package) version;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../models
      ../terraform/prices.json
      (lib.fileset.difference ../src ../src/fuzz)
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;
  buildFeatures = [ "aws" ];
  cargoBuildFlags = [ "--bin=bellows" ];
  # they are a check of their own
  doCheck = false;

  meta = {
    description = "Elastic image recognition: photographs in, labels out";
    license = lib.licenses.asl20;
    mainProgram = "bellows";
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
    ];
  };
}
