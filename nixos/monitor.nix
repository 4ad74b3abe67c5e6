# services.bellows-monitor: Prometheus that scrapes a web tier, with the rules of nixos/monitoring/, and Grafana with its
# dashboard. Both on loopback.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.bellows-monitor;
  key = "${config.services.grafana.dataDir}/secret-key";
in
{
  options.services.bellows-monitor = {
    enable = lib.mkEnableOption "Prometheus and Grafana for bellows";
    target = lib.mkOption {
      type = lib.types.str;
      default = "127.0.0.1:9464";
      description = "Address and port of the web tier's metrics listener.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.prometheus = {
      enable = true;
      listenAddress = "127.0.0.1";
      ruleFiles = [ ./monitoring/rules.yml ];
      scrapeConfigs = [
        {
          job_name = "bellows";
          scrape_interval = "15s";
          static_configs = [ { targets = [ cfg.target ]; } ];
        }
      ];
    };
    services.grafana = {
      enable = true;
      settings.server.http_addr = "127.0.0.1";
      # 3000 is the web tier's
      settings.server.http_port = 3001;
      # for secrets of data sources, of which it has none: one of its own, made at its first start
      settings.security.secret_key = lib.mkDefault "$__file{${key}}";
      provision = {
        enable = true;
        datasources.settings.datasources = [
          {
            name = "Prometheus";
            uid = "prometheus";
            type = "prometheus";
            url = "http://127.0.0.1:${toString config.services.prometheus.port}";
            isDefault = true;
          }
        ];
        dashboards.settings.providers = [
          {
            name = "bellows";
            options.path =
              pkgs.runCommand "dashboards" { }
                "install -D -m 444 ${./monitoring/dashboard.json} $out/dashboard.json";
          }
        ];
      };
    };
    systemd.services.grafana.preStart = lib.mkBefore ''
      [ -e ${key} ] || (umask 077 && head -c 32 /dev/urandom | base64 -w0 >${key})
    '';
  };
}
