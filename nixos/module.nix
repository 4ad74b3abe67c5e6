# services.bellows: the daemon as a unit, on any NixOS. The two appliances are made of it (appliance.nix).
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.bellows;
  settings = import ./settings.nix { inherit lib; };
  format = pkgs.formats.toml { };
  rendered = format.generate "bellows.toml" (settings.rendered cfg.settings);

  isApp = cfg.settings.role == "app";
  isAws = cfg.settings.backend == "aws";
  # what instances are handed at their launch and the file in the image does not have
  later = format.generate "user-data.toml" {
    queue.urls = lib.genAttrs [
      "request"
      "response"
      "terminate_request"
      "terminate_confirm"
      "dead"
    ] (name: "https://sqs.eu-central-1.amazonaws.com/123456789012/${name}");
    bucket = {
      input = "bellows-input";
      output = "bellows-output";
    };
    aws.launch_template = "lt-0123456789abcdef0";
    web.allow_anonymous = true;
  };
in
{
  options.services.bellows = {
    enable = lib.mkEnableOption "bellows, elastic image recognition";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The daemon.";
    };

    model = lib.mkOption {
      type = lib.types.nullOr lib.types.package;
      default = pkgs.callPackage ./model.nix { bellows = cfg.package; };
      defaultText = lib.literalExpression "pkgs.callPackage ./model.nix { }";
      description = "Model and engine, as settings.model.dir and settings.model.engine. Null: settings say where they are.";
    };

    settings = lib.mkOption {
      inherit (settings) type;
      default = { };
      description = "The daemon's configuration, key by key as in src/config.default.toml.";
    };

    configFile = lib.mkOption {
      type = lib.types.package;
      readOnly = true;
      description = "The configuration as the daemon reads it, after its own check.";
    };

    powerOffWhenRetired = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether this machine is powered off once the pool has done without it (exit code 80).";
    };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether port 3000 is open.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = !(isApp && cfg.openFirewall);
        message = "services.bellows: the app tier listens on nothing, so openFirewall makes no sense with role \"app\".";
      }
      {
        assertion = !(isApp && !isAws);
        message = "services.bellows: on one machine the web tier starts its app processes itself; role \"app\" needs backend \"aws\".";
      }
      {
        assertion = !(cfg.powerOffWhenRetired && !isApp);
        message = "services.bellows: only the app tier retires, so powerOffWhenRetired makes no sense with role \"web\".";
      }
      {
        assertion =
          cfg.settings.web.allow_anonymous != true
          || cfg.settings.web.tokens == null
          || cfg.settings.web.tokens == [ ];
        message = "services.bellows: settings.web.allow_anonymous lets everybody in, whatever settings.web.tokens says; set one of them.";
      }
    ];

    services.bellows = {
      settings = {
        # a unit has no home that "auto" could be made of
        model = {
          dir = lib.mkDefault (if cfg.model == null then "/var/lib/bellows" else "${cfg.model}");
          engine = lib.mkIf (cfg.model != null) (lib.mkDefault "${cfg.model.engine}");
          pull = lib.mkIf (cfg.model != null) (lib.mkDefault "never");
        };
        local.state_dir = lib.mkIf (!isAws) (lib.mkDefault "/var/lib/bellows");
      };
      configFile =
        pkgs.runCommand "bellows.toml"
          {
            nativeBuildInputs = [ cfg.package ];
            # nothing answers here that could hand out user data
            env.AWS_EC2_METADATA_DISABLED = "true";
            passthru = { inherit rendered later; };
          }
          ''
            bellows check-config --config ${rendered} ${lib.optionalString isAws "--config ${later}"} >/dev/null
            cp ${rendered} $out
          '';
    };

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall [ 3000 ];

    systemd.services.bellows = {
      description = "bellows (${if isApp then "app" else "web"} tier)";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      # it never gives up
      startLimitIntervalSec = 0;
      serviceConfig = {
        ExecStart = "${lib.getExe cfg.package} run --config ${cfg.configFile}";
        Type = "notify";
        # a loop that is stuck gives no sign of life; nor does a process that stands still
        WatchdogSec = 30;
        TimeoutStartSec = 300;
        # longer than what is in hand may take: web.drain, app.job_deadline
        TimeoutStopSec = 120;
        Restart = "always";
        RestartSec = 1;
        RestartSteps = 6;
        RestartMaxDelaySec = 60;
        # 80: retired, and so for good; 64 and 78: no restart mends a configuration
        SuccessExitStatus = 80;
        RestartPreventExitStatus = "64 78 80";
        # on one machine the workers are told by the web tier
        KillMode = "mixed";

        DynamicUser = true;
        StateDirectory = "bellows";
        StateDirectoryMode = "0700";
        LimitNOFILE = 65536;

        AmbientCapabilities = "";
        CapabilityBoundingSet = "";
        DevicePolicy = "closed";
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        NoNewPrivileges = true;
        PrivateDevices = true;
        PrivateMounts = true;
        PrivateTmp = "disconnected";
        PrivateUsers = true;
        ProtectClock = true;
        ProtectControlGroups = "strict";
        ProtectHome = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        ProtectSystem = "strict";
        RemoveIPC = true;
        # AF_UNIX: systemd is told through such a socket
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_UNIX"
        ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        # whoever calls anything else is ended
        SystemCallFilter = [
          "@system-service"
          "~@privileged"
          "~@resources"
        ];
        UMask = "0077";
        # on ARM the engine reads in /proc/cpuinfo what the processor can do; on x86-64 it asks the processor
        ProcSubset = if pkgs.stdenv.hostPlatform.isAarch64 then "all" else "pid";
      }
      // lib.optionalAttrs isApp {
        SocketBindDeny = "any";
      }
      // lib.optionalAttrs cfg.powerOffWhenRetired {
        ExecStopPost = "+${pkgs.runtimeShell} -c 'if [ \"$$EXIT_STATUS\" = 80 ]; then systemctl --no-block poweroff; fi'";
      };
    };
  };
}
