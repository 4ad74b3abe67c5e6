# One case of refused.nix, or `none`, which must not be refused: evaluates to the unit's text, or fails with what is said.
#   nix-instantiate --eval nixos/refuse.nix --arg nixpkgs PATH --argstr case typo
{
  nixpkgs,
  case,
}:
let
  cases = {
    none = { };
  }
  // import ./refused.nix;
  chosen = removeAttrs cases.${case} [ "says" ];
  system = import (nixpkgs + "/nixos/lib/eval-config.nix") {
    system = null;
    modules = [
      ./module.nix
      {
        nixpkgs.hostPlatform = "x86_64-linux";
        services.bellows = chosen // {
          enable = true;
        };
        fileSystems."/".device = "/dev/disk/by-label/root";
        fileSystems."/".fsType = "ext4";
        boot.loader.grub.enable = false;
        system.stateVersion = "26.05";
      }
    ];
  };
in
builtins.unsafeDiscardStringContext system.config.system.build.toplevel.drvPath
