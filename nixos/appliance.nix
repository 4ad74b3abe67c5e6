# A machine that is one image: store behind dm-verity, root in memory, no Nix, no shell to log into. One profile for both
# tiers; what it is to do comes as user data, which the daemon reads itself.
{
  config,
  lib,
  modulesPath,
  ...
}:
let
  inherit (config.image.repart.verityStore) partitionIds;
  cfg = config.bellows.appliance;
in
{
  imports = [
    ./module.nix
    "${modulesPath}/image/repart.nix"
    "${modulesPath}/profiles/image-based-appliance.nix"
    "${modulesPath}/profiles/minimal.nix"
    "${modulesPath}/profiles/perlless.nix"
  ];

  options.bellows.appliance = {
    role = lib.mkOption {
      type = lib.types.enum [
        "web"
        "app"
      ];
      description = "The tier that this image is for.";
    };
    revision = lib.mkOption {
      type = lib.types.str;
      default = "unknown";
      description = "Git revision of the tree that the image is made of.";
    };
    ssh = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether one may log in, with the keys of users.users.root. Off: nothing but the daemon listens.";
    };
  };

  config = {
    services.bellows = {
      enable = true;
      settings = {
        inherit (cfg) role;
        backend = "aws";
        log.format = lib.mkDefault "json";
        web.listen = lib.mkIf (cfg.role == "web") (lib.mkDefault "0.0.0.0:3000");
      };
      # the web tier classifies nothing
      model = lib.mkIf (cfg.role == "web") null;
      powerOffWhenRetired = cfg.role == "app";
    };

    system.stateVersion = "26.05";
    system.image.id = "bellows-${cfg.role}";
    system.image.version = config.services.bellows.package.version;
    environment.etc."bellows/revision".text = cfg.revision;

    image.repart = {
      name = "bellows-${cfg.role}";
      # EC2's volumes have sectors of 512 bytes
      sectorSize = 512;
      verityStore = {
        enable = true;
        # where firmware looks without being told
        ukiPath = "/EFI/BOOT/BOOTX64.EFI";
      };
      # hard links in the builder's store must not show in the image
      mkfsOptions.erofs = [
        "--hard-dereference"
        "-zlz4hc"
      ];
      # a kernel image and nothing else: the order in a folder would differ from build to build
      partitions.${partitionIds.esp}.repartConfig = {
        Type = "esp";
        Format = "vfat";
        SizeMinBytes = "96M";
      };
    };

    fileSystems."/" = {
      fsType = "tmpfs";
      options = [
        "mode=0755"
        "size=25%"
      ];
    };

    boot = {
      loader.grub.enable = false;
      initrd = {
        systemd.enable = true;
        includeDefaultModules = false;
        # EC2's disks and network; virtio for machines under QEMU
        availableKernelModules = [
          "nvme"
          "ena"
          "virtio_net"
          "virtio_rng"
        ];
      };
      kernelParams = [
        "console=ttyS0"
        "systemd.journald.forward_to_console=1"
        "random.trust_cpu=on"
        "panic=10"
      ];
    };

    networking = {
      hostName = "";
      useDHCP = false;
      useNetworkd = true;
      # security groups say who gets in; nothing but the daemon listens
      firewall.enable = false;
    };
    # without the wait for the addresses of IPv6
    systemd.network.networks."10-ec2" = {
      matchConfig.Type = "ether";
      networkConfig = {
        DHCP = "ipv4";
        LinkLocalAddressing = "no";
        IPv6AcceptRA = false;
      };
    };
    # names and time are asked of the VPC itself, at addresses that are the same in all of them: no further service, and
    # none that listens
    services.resolved.enable = false;
    networking.resolvconf.enable = false;
    environment.etc."resolv.conf".text = "nameserver 169.254.169.253\n";
    networking.timeServers = [ "169.254.169.123" ];
    # root is memory: what matters goes to the console, and so to EC2's log of it
    services.journald.storage = "volatile";
    services.journald.extraConfig = "RuntimeMaxUse=32M";
    services.openssh.enable = cfg.ssh;
    services.openssh.settings.PasswordAuthentication = false;

    time.timeZone = "UTC";
    # nobody logs in
    users.allowNoPasswordLogin = true;
    system.activationScripts.usrbinenv = lib.mkForce "";
  };
}
