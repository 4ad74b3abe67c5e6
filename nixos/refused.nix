# Settings that must be refused, each with what is said to it. Used by a check of the flake and by .ci/images.
{
  typo = {
    settings.web.wiat = "5m";
    says = "option.*web.wiat.*does not exist";
  };
  unknown-section = {
    settings.queues.request = "http://127.0.0.1/";
    says = "option.*queues.*does not exist";
  };
  role = {
    settings.role = "worker";
    says = "one of .*web.*app";
  };
  backend = {
    settings.backend = "gcp";
    says = "one of .*local.*aws";
  };
  bare-duration = {
    settings.web.wait = 300;
    says = "not of type.*duration";
  };
  duration-unit = {
    settings.pool.latency_target = "15 seconds";
    says = "not of type.*duration";
  };
  size = {
    settings.web.max_body = "32 apples";
    says = "not of type.*size";
  };
  list = {
    settings.web.tokens = "NAME:sha256:00";
    says = "not of type.*list of string";
  };
  negative = {
    settings.pool.min_instances = -1;
    says = "not of type.*unsigned integer";
  };
  policy = {
    settings.pool.policy = "fastest";
    says = "one of .*per-request.*backlog.*deadline";
  };
  app-alone = {
    settings.role = "app";
    settings.backend = "local";
    says = "role .app. needs backend .aws.";
  };
  app-port = {
    settings.role = "app";
    settings.backend = "aws";
    openFirewall = true;
    says = "listens on nothing";
  };
  web-retires = {
    powerOffWhenRetired = true;
    says = "only the app tier retires";
  };
  anonymous-and-tokens = {
    settings.web.allow_anonymous = true;
    settings.web.tokens = [ "a:sha256:00" ];
    says = "set one of them";
  };
}
