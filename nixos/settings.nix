# The options of `services.bellows.settings`: one for each key of the daemon's own default file, which is read here, so
# that none is missing and none is made up. Unset ones (null) are left out of the daemon's configuration: its compiled-in
# defaults stay the only ones. What a type cannot tell, `bellows check-config` does when the configuration is built.
{ lib }:
let
  inherit (lib) types;

  defaults = fromTOML (builtins.readFile ../src/config.default.toml);

  duration = types.mkOptionType {
    name = "duration";
    description = ''duration ("250ms", "30s", "2m", "1h30m", "3d", or 0)'';
    check = v: v == 0 || (builtins.isString v && builtins.match "0|([0-9]+(ms|s|m|h|d))+" v != null);
    merge = lib.mergeEqualOption;
  };
  size = types.mkOptionType {
    name = "size";
    description = ''size ("32 MiB", "10 MB", "64 M", or a number)'';
    check =
      v:
      (builtins.isInt v && v >= 0)
      || (builtins.isString v && builtins.match "[0-9]+ ?([kKMGT]i?B?|B)?" v != null);
    merge = lib.mergeEqualOption;
  };

  # where the default does not show what else there may be
  known = {
    role = types.enum [
      "web"
      "app"
    ];
    backend = types.enum [
      "local"
      "aws"
    ];
    web.response_format = types.enum [
      "text"
      "tuple"
      "original"
    ];
    web.max_backlog = types.either types.ints.unsigned (types.enum [ "auto" ]);
    log.format = types.enum [
      "text"
      "json"
    ];
    pool.policy = types.enum [
      "auto"
      "per-request"
      "backlog"
      "deadline"
    ];
    pool.max_instances = types.either types.ints.positive (types.enum [ "auto" ]);
    pool.tick = types.either duration (types.enum [ "auto" ]);
    pool.hold = types.either duration (types.enum [ "auto" ]);
    pool.boot_prior = types.either duration (types.enum [ "auto" ]);
    pool.counter_lag = types.either duration (types.enum [ "auto" ]);
    app.sessions = types.either types.ints.positive (types.enum [ "auto" ]);
    app.report_every = types.either duration (types.enum [ "auto" ]);
    app.app_tier_id = types.either types.ints.positive (types.enum [ "auto" ]);
    model.pull = types.enum [
      "missing"
      "never"
    ];
  };

  typeOf =
    value:
    if builtins.isBool value then
      types.bool
    else if builtins.isFloat value then
      types.numbers.nonnegative
    else if builtins.isInt value then
      types.ints.unsigned
    else if builtins.isList value then
      types.listOf types.str
    else if duration.check value then
      duration
    else if size.check value then
      size
    else
      types.str;

  optionsOf = path: lib.mapAttrs (name: value: optionOf (path ++ [ name ]) value);
  optionOf =
    path: value:
    if builtins.isAttrs value then
      lib.mkOption {
        default = { };
        description = "The section `${lib.concatStringsSep "." path}`.";
        type = types.submodule { options = optionsOf path value; };
      }
    else
      lib.mkOption {
        default = null;
        defaultText = lib.literalMD "`${builtins.toJSON value}`, the daemon's own default";
        description = "See `${lib.concatStringsSep "." path}` in src/config.default.toml.";
        type = types.nullOr (lib.attrByPath path (typeOf value) known);
      };

  keysOf =
    path: set:
    lib.concatLists (
      lib.mapAttrsToList (
        name: value:
        let
          at = path ++ [ name ];
        in
        if builtins.isAttrs value && !(value ? _type) then
          keysOf at value
        else
          [ (lib.concatStringsSep "." at) ]
      ) set
    );
  unknown = lib.subtractLists (keysOf [ ] defaults) (
    lib.concatLists (
      lib.mapAttrsToList (
        section: value:
        if value ? check then [ section ] else map (key: "${section}.${key}") (lib.attrNames value)
      ) known
    )
  );
in
assert lib.assertMsg (
  unknown == [ ]
) "nixos/settings.nix knows keys that the daemon does not: ${toString unknown}";
{
  type = types.submodule { options = optionsOf [ ] defaults; };

  # without what is unset, and without the sections of which nothing is left
  rendered =
    let
      prune =
        set:
        lib.filterAttrs (_: value: value != null && value != { }) (
          lib.mapAttrs (_: value: if builtins.isAttrs value then prune value else value) set
        );
    in
    prune;
}
