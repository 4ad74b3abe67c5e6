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
  has = file: builtins.pathExists (./monitoring + "/${file}");
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
      ruleFiles = lib.optional (has "rules.yml") ./monitoring/rules.yml;
      scrapeConfigs = [
        {
          job_name = "bellows";
          scrape_interval = "5s";
          static_configs = [ { targets = [ cfg.target ]; } ];
        }
      ];
    };
    services.grafana = {
      enable = true;
      settings.server.http_addr = "127.0.0.1";
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
        dashboards.settings.providers = lib.optional (has "dashboard.json") {
          name = "bellows";
          options.path =
            pkgs.runCommand "dashboards" { }
              "install -D -m 444 ${./monitoring/dashboard.json} $out/dashboard.json";
        };
      };
    };
  };
}
