# An appliance as data: what is our own in its evaluated configuration. The boot test makes its image of this, with
# binaries of another distribution, where NixOS's cannot be built. Nothing is built here:
#   nix-instantiate --eval --strict --json nixos/evaluation.nix --arg nixpkgs PATH --argstr role web
{ nixpkgs, role }:
let
  lib = import (nixpkgs + "/lib");
  inherit
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      system = null;
      modules = [
        ./appliance.nix
        {
          nixpkgs.hostPlatform = "x86_64-linux";
          bellows.appliance = { inherit role; };
        }
      ];
    })
    config
    ;
  cfg = config.services.bellows;
  # what follows the sources would change with each of them: such paths go by names
  named = [
    {
      path = cfg.package;
      name = "bellows";
    }
    {
      path = cfg.configFile;
      name = "bellows.toml";
    }
  ]
  ++ lib.optionals (cfg.model != null) [
    {
      path = cfg.model;
      name = "model";
    }
    {
      path = cfg.model.engine;
      name = "engine";
    }
  ];
  # and those of nixpkgs by theirs, without hash and version
  short =
    value:
    lib.concatMapStrings (
      part: if builtins.isList part then "/nix/store/@${lib.head part}@" else part
    ) (builtins.split "/nix/store/[a-z0-9]{32}-([a-z-]+)-[0-9][^/ \":]*" value);
  plain =
    value:
    short (
      builtins.unsafeDiscardStringContext (
        lib.replaceStrings (map (n: "${n.path}") named) (map (n: "/nix/store/@${n.name}@") named) value
      )
    );
  settings = import ./settings.nix { inherit lib; };
  deep =
    value:
    if builtins.isAttrs value then
      lib.mapAttrs (_: deep) value
    else if builtins.isList value then
      map deep value
    else if builtins.isString value then
      plain value
    else
      value;
  keysOf =
    path: options:
    lib.concatLists (
      lib.mapAttrsToList (
        name: option:
        let
          inner = removeAttrs (option.type.getSubOptions [ ]) [ "_module" ];
        in
        if inner == { } then [ (path + name) ] else keysOf "${path}${name}." inner
      ) options
    );
  etc = name: config.environment.etc.${name}.text;
in
deep {
  inherit role;
  unit = config.systemd.units."bellows.service".text;
  wantedBy = config.systemd.units."bellows.service".wantedBy;
  settings = settings.rendered cfg.settings;
  # all that services.bellows.settings has; a test holds it against the daemon's keys
  options = keysOf "" (removeAttrs (settings.type.getSubOptions [ ]) [ "_module" ]);
  kernelParams = config.boot.kernelParams;
  initrdModules = config.boot.initrd.availableKernelModules ++ config.boot.initrd.kernelModules;
  repart = lib.mapAttrs (_: partition: partition.repartConfig) config.image.repart.partitions;
  inherit (config.image.repart) seed;
  erofs = config.image.repart.mkfsOptions.erofs;
  sectorSize = config.image.repart.sectorSize;
  fstab = etc "fstab";
  networks = lib.mapAttrs (_: network: network.text) config.systemd.network.units;
  waitOnline = config.systemd.services.systemd-networkd-wait-online.serviceConfig.ExecStart;
  journald = etc "systemd/journald.conf";
  resolv = etc "resolv.conf";
  sshd = config.services.openssh.enable;
}
