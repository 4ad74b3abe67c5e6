# Web and app tier as two NixOS machines in front of an emulator of AWS on a third. Needs NixOS's packages, so it is run
# where Nix builds or fetches them; nixos/tests/boot boots the appliances without.
{ pkgs }:
let
  python = pkgs.python3.withPackages (p: [
    (p.moto.overridePythonAttrs { doCheck = false; })
    p.flask
    p.flask-cors
    p.boto3
  ]);
  endpoint = "http://emulator:5000";
  queue = name: "${endpoint}/123456789012/${name}";
  queues = [
    "request"
    "response"
    "terminate_request"
    "terminate_confirm"
    "dead"
  ];
  tier = role: {
    imports = [ ../module.nix ];
    services.bellows = {
      enable = true;
      openFirewall = role == "web";
      settings = {
        inherit role;
        backend = "aws";
        queue.urls = pkgs.lib.genAttrs queues queue;
        bucket.input = "bellows-input";
        bucket.output = "bellows-output";
        aws.region = "us-east-1";
        aws.endpoint = endpoint;
        aws.launch_template = "lt-0123456789abcdef0";
        app.app_tier_id = if role == "app" then 1 else "auto";
        app.instance_id = "i-${role}";
        pool.dry_run = true;
        web.listen = "0.0.0.0:3000";
        web.allow_anonymous = true;
      };
    };
    systemd.services.bellows = {
      wantedBy = pkgs.lib.mkForce [ ];
      environment = {
        AWS_ACCESS_KEY_ID = "none";
        AWS_SECRET_ACCESS_KEY = "none";
        AWS_EC2_METADATA_DISABLED = "true";
      };
    };
    virtualisation.memorySize = 2048;
  };
in
pkgs.testers.runNixOSTest {
  name = "bellows";
  nodes = {
    web = tier "web";
    app = tier "app";
    emulator = {
      networking.firewall.allowedTCPPorts = [ 5000 ];
      environment.systemPackages = [
        python
        pkgs.awscli2
      ];
      systemd.services.moto = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig.ExecStart = "${python}/bin/moto_server -H 0.0.0.0 -p 5000";
      };
    };
  };
  testScript = ''
    start_all()
    emulator.wait_for_open_port(5000)
    aws = "AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_DEFAULT_REGION=us-east-1 aws --endpoint-url http://localhost:5000"
    for name in "${toString queues}".split():
        emulator.succeed(f"{aws} sqs create-queue --queue-name {name}")
    for name in ("input", "output"):
        emulator.succeed(f"{aws} s3 mb s3://bellows-{name}")
    for machine in (web, app):
        machine.succeed("systemctl start bellows")
        machine.wait_for_unit("bellows.service")
    web.wait_for_open_port(3000)
    app.fail("ss -Hlnt | grep -v ':22 '")
    web.copy_from_host("${../../models/README.md}", "/tmp/no-image")
    web.succeed("test $(curl -s -o /tmp/answer -w '%{http_code}' -F myfile=@/tmp/no-image http://localhost:3000/) = 422")
  '';
}
