# `nix run .#monitor [-- --target HOST:PORT]`: Prometheus and Grafana on loopback until interrupted, in a folder of their
# own, with the rules and the dashboard of nixos/monitoring/.
{
  lib,
  writeShellApplication,
  grafana,
  prometheus,
}:
let
  file =
    name: into:
    lib.optionalString (builtins.pathExists (./monitoring + "/${name}")) ''
      cp ${./monitoring + "/${name}"} "$folder/${into}"
    '';
in
writeShellApplication {
  name = "bellows-monitor";
  runtimeInputs = [
    grafana
    prometheus
  ];
  text = ''
    target=127.0.0.1:9464
    if [ "''${1:-}" = --target ]; then
      target=''${2:?--target HOST:PORT}
    fi
    folder=$(mktemp -d)
    trap 'kill 0; rm -rf "$folder"' EXIT
    mkdir -p "$folder"/{datasources,dashboards,shown}
    ${file "rules.yml" "rules.yml"}${file "dashboard.json" "shown/dashboard.json"}
    cat >"$folder/prometheus.yml" <<CONF
    global: { scrape_interval: 5s, evaluation_interval: 5s }
    rule_files: [ "$folder/rules*.yml" ]
    scrape_configs:
      - job_name: bellows
        static_configs: [ { targets: [ "$target" ] } ]
    CONF
    cat >"$folder/datasources/prometheus.yml" <<CONF
    apiVersion: 1
    datasources: [ { name: Prometheus, uid: prometheus, type: prometheus, url: "http://127.0.0.1:9090", isDefault: true } ]
    CONF
    cat >"$folder/dashboards/bellows.yml" <<CONF
    apiVersion: 1
    providers: [ { name: bellows, options: { path: "$folder/shown" } } ]
    CONF
    prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/data" \
      --web.listen-address=127.0.0.1:9090 &
    echo "Prometheus http://127.0.0.1:9090/  Grafana http://127.0.0.1:3001/"
    GF_SERVER_HTTP_ADDR=127.0.0.1 GF_SERVER_HTTP_PORT=3001 GF_PATHS_DATA="$folder/grafana" \
      GF_PATHS_PROVISIONING="$folder" GF_AUTH_ANONYMOUS_ENABLED=true GF_ANALYTICS_REPORTING_ENABLED=false \
      grafana server --homepath ${grafana}/share/grafana
  '';
}
