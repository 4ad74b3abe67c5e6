# `nix flake check`: what can be built and run on the evaluating machine.
{
  lib,
  pkgs,
  self,
  bellows,
  appliances,
}:
let
  # the same sources and dependencies, another command
  cargo =
    name: command:
    bellows.overrideAttrs (old: {
      pname = "bellows-${name}";
      nativeBuildInputs = old.nativeBuildInputs ++ [
        pkgs.clippy
        pkgs.rustfmt
      ];
      buildPhase = ''
        runHook preBuild
        ${command}
        runHook postBuild
      '';
      installPhase = "touch $out";
      doCheck = false;
    });
  refused = import ./refused.nix;
  refuses =
    case:
    !(builtins.tryEval (
      builtins.seq (import ./refuse.nix {
        nixpkgs = self.inputs.nixpkgs;
        inherit case;
      }) true
    )).success;
in
{
  inherit bellows;
  clippy = cargo "clippy" "cargo clippy --offline --all-targets -- -D warnings";
  fmt = cargo "fmt" "cargo fmt --all --check";
  # those that need neither browser nor Python
  tests = cargo "tests" "cargo test --offline --lib --workspace";

  modules = pkgs.writeText "modules" (
    lib.concatMapStringsSep "\n" (
      appliance: builtins.unsafeDiscardStringContext appliance.config.system.build.toplevel.drvPath
    ) (lib.attrValues appliances)
  );
  # not to be built: whether there is such a machine at all
  monitor =
    let
      machine = lib.nixosSystem {
        modules = [
          ./monitor.nix
          {
            nixpkgs.hostPlatform = pkgs.stdenv.hostPlatform.system;
            services.bellows-monitor.enable = true;
            fileSystems."/".device = "/dev/disk/by-label/root";
            fileSystems."/".fsType = "ext4";
            boot.loader.grub.enable = false;
            system.stateVersion = "26.05";
          }
        ];
      };
      path = machine.config.system.build.toplevel.drvPath;
    in
    pkgs.writeText "monitor" (builtins.unsafeDiscardStringContext path);
  refused =
    assert !refuses "none";
    assert lib.all refuses (lib.attrNames refused);
    pkgs.writeText "refused" (lib.concatStringsSep "\n" (lib.attrNames refused));
}
// lib.optionalAttrs pkgs.stdenv.hostPlatform.isx86_64 {
  vm = import ./tests/vm.nix { inherit pkgs; };
}
