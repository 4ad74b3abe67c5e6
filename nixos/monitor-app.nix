# `nix run .#monitor [-- --target HOST:PORT]`: Prometheus and Grafana on loopback until interrupted, in a folder of their
# own, with what nixos/monitoring/ has for both.
{
  writeShellApplication,
  coreutils,
  gnused,
  grafana,
  prometheus,
}:
writeShellApplication {
  name = "bellows-monitor";
  runtimeInputs = [
    coreutils
    gnused
    grafana
    prometheus
  ];
  text = ''
    target=127.0.0.1:9464
    if [ "''${1:-}" = --target ]; then
      target=''${2:?--target HOST:PORT}
    fi
    folder=$(mktemp -d)
    end() {
      # shellcheck disable=SC2046
      kill $(jobs -p) 2>/dev/null || true
      wait
      rm -rf "$folder"
    }
    trap end EXIT
    trap 'exit 130' INT TERM
    cp ${./monitoring/rules.yml} "$folder/rules.yml"
    sed "s/127[.]0[.]0[.]1:9464/$target/" ${./monitoring/prometheus.yml} >"$folder/prometheus.yml"
    prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/data" \
      --web.listen-address=127.0.0.1:9090 &
    GF_SERVER_HTTP_ADDR=127.0.0.1 GF_SERVER_HTTP_PORT=3001 GF_PATHS_DATA="$folder/grafana" \
      GF_AUTH_ANONYMOUS_ENABLED=true GF_ANALYTICS_REPORTING_ENABLED=false \
      GF_PATHS_PROVISIONING=${./monitoring/grafana} BELLOWS_DASHBOARDS=${./monitoring} \
      BELLOWS_PROMETHEUS_URL=http://127.0.0.1:9090 grafana server --homepath ${grafana}/share/grafana &
    echo "Prometheus http://127.0.0.1:9090/  Grafana http://127.0.0.1:3001/"
    # one that ends is the end of both
    wait -n
  '';
}
