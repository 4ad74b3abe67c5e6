//! What somebody is told who got it wrong: each text whole, as it is printed.

use super::*;

/// Values refused by themselves, given by `--set`.
#[test]
fn values() {
    let duration = "a duration with its unit, such as \"250ms\", \"30s\", \"2m\" or \"3d\", not below 0";
    let size = "a size such as \"32 MiB\", \"10 MB\" or a number of bytes";
    let address = "ADDRESS:PORT such as \"127.0.0.1:3000\" or \"[::]:3000\"";
    let price = "a price in USD from 0 to 1000000, such as 0.05";
    let whole = "a whole number from 0 to 4294967295";
    let cases = [
        ("web.wait", "-5s", "\"-5s\"", duration.to_owned()),
        ("web.wait", "5", "5", duration.to_owned()),
        ("web.wait", "soon", "\"soon\"", duration.to_owned()),
        ("pool.hold", "5", "5", format!("{duration}, or \"auto\"")),
        ("web.max_body", "32 mib", "\"32 mib\"", size.to_owned()),
        ("web.max_body", "", "\"\"", size.to_owned()),
        ("web.listen", "3000", "3000", address.to_owned()),
        ("web.listen", ":3000", "\":3000\"", address.to_owned()),
        ("web.max_files", "many", "\"many\"", whole.to_owned()),
        ("web.max_files", "-1", "-1", whole.to_owned()),
        ("web.max_files", "1.5", "\"1.5\"", whole.to_owned()),
        ("pool.max_instances", "-1", "-1", format!("{whole}, or \"auto\"")),
        (
            "web.max_backlog",
            "9223372036854775808",
            "\"9223372036854775808\"",
            "a whole number, 0 or more, or \"auto\"".into(),
        ),
        ("pool.instance_usd_per_hour", "-0.01", "\"-0.01\"", price.to_owned()),
        ("pool.instance_usd_per_hour", "nan", "\"nan\"", price.to_owned()),
        ("pool.dry_run", "yes", "\"yes\"", "true or false".into()),
        ("role", "webb", "\"webb\"", "\"web\" or \"app\"".into()),
        ("role", "0", "0", "\"web\" or \"app\"".into()),
        ("backend", "sim", "\"sim\"", "\"local\" or \"aws\"".into()),
        ("pool.policy", "fast", "\"fast\"", "\"per-request\" or \"backlog\" or \"deadline\", or \"auto\"".into()),
        ("web.response_format", "json", "\"json\"", "\"text\" or \"tuple\" or \"original\"".into()),
        ("model.pull", "always", "\"always\"", "\"missing\" or \"never\"".into()),
        ("model.max_pixels", "64 MiB", "\"64 MiB\"", "a number such as \"64 M\" or 64000000".into()),
        ("local.state_dir", "~/x", "\"~/x\"", "a whole path (~ is not expanded), or \"auto\"".into()),
        ("aws.subnets", "subnet-1", "\"subnet-1\"", "a list such as [\"a\", \"b\"]".into()),
        ("model.name", "[\"a\"]", "[\"a\"]", "a text without control characters".into()),
        (
            "log.level",
            "inof",
            "\"inof\"",
            "one of error, warn, info, debug, trace, off, with exceptions as \"info,bellows::web=debug\"".into(),
        ),
    ];
    for (key, given, shown, expected) in cases {
        let expected = format!("configuration: {key} = {shown} (from --set): expected {expected}");
        assert_eq!(refused(&set(&[(key, given)])), expected);
    }
}

/// The same mistake says where it was made.
#[test]
fn origins() {
    let expected = "expected a duration with its unit, such as \"250ms\", \"30s\", \"2m\" or \"3d\", not below 0";
    let (_folder, file) = with_file("# a comment\n[web]\nlisten = \"127.0.0.1:1\"\nwait = 5\n");
    assert_eq!(refused(&file), format!("configuration: web.wait = 5 (from /folder/bellows.toml, line 4): {expected}"));
    assert_eq!(
        refused(&sources(&[("BELLOWS_WEB__WAIT", "5")])),
        format!("configuration: web.wait = 5 (from BELLOWS_WEB__WAIT): {expected}")
    );
    assert_eq!(
        refused(&Sources { user_data: Some("\nweb.wait = 5".into()), ..sources(&[]) }),
        format!("configuration: web.wait = 5 (from EC2 user data, line 2): {expected}")
    );
    assert_eq!(
        refused(&sources(&[("BELLOWS_WEB__WAIT", "")])),
        format!("configuration: web.wait = \"\" (from BELLOWS_WEB__WAIT): {expected}")
    );
}

#[test]
fn an_element_of_a_list_is_named_by_its_list() {
    assert_eq!(
        refused(&set(&[("aws.subnets", "[\"a\", [1]]")])),
        "configuration: aws.subnets = [\"a\", [1]] (from --set): expected a text without control characters"
    );
}

#[test]
fn a_token_is_not_repeated() {
    let expected = "expected \"NAME:sha256:HEX\" as `bellows token new NAME` prints it, \
        optionally with \":max_outstanding=N\"";
    assert_eq!(
        refused(&set(&[("web.tokens", "[\"me:opensesame\"]")])),
        format!("configuration: web.tokens = (not shown) (from --set): {expected}")
    );
    let misspelt = refused(&set(&[("web.tokenz", "[\"me:opensesame\"]"), ("token", "opensesame")]));
    assert!(!misspelt.contains("opensesame"), "{misspelt}");
    let misspelt = refused(&sources(&[("BELLOWS_WEB__TOKENZ", "opensesame")]));
    assert!(!misspelt.contains("opensesame"), "{misspelt}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = "web.wait = 5\nweb.lissten = \"x\"\npool.dry_run = 1\nweb.max_files = 0\n";
    let (_folder, mut file) = with_file(text);
    file.environment.push(("BELLOWS_ROLE".into(), "king".into()));
    let expected = "\
configuration: unknown key web.lissten = \"x\" (from /folder/bellows.toml, line 2): expected a key that bellows knows; did you mean `web.listen`?
configuration: pool.dry_run = 1 (from /folder/bellows.toml, line 3): expected true or false
configuration: role = \"king\" (from BELLOWS_ROLE): expected \"web\" or \"app\"
configuration: web.wait = 5 (from /folder/bellows.toml, line 1): expected a duration with its unit, such as \"250ms\", \"30s\", \"2m\" or \"3d\", not below 0
configuration: web.max_files = 0 (from /folder/bellows.toml, line 4): expected a whole number from 1 to 10000";
    assert_eq!(refused(&file), expected);
}

#[test]
fn unknown_keys() {
    let cases = [
        ("web.lsiten", "web.lsiten = 1", Some("`web.listen`")),
        ("listen", "listen = 1", Some("`web.listen` or `metrics.listen`")),
        ("web.port", "web.port = 1", Some("`web.listen`")),
        ("max_instances", "max_instances = 1", Some("`pool.max_instances`")),
        ("pool.max-instances", "pool.max-instances = 1", Some("`pool.max_instances`")),
        ("app.max_instances", "app.max_instances = 1", Some("`pool.max_instances`")),
        ("log_level", "log_level = 1", Some("`log.level`")),
        ("model.manifests", "model.manifests = 1", Some("`model.manifest`")),
        ("\"web.listen\"", "\"web.listen\" = 1", Some("`web.listen`")),
        ("colour", "colour = 1", None),
    ];
    for (key, shown, near) in cases {
        let (_folder, file) = with_file(&format!("{key} = 1"));
        let near = near.map_or("\n  repair: `bellows check-config --defaults` lists them all".to_owned(), |near| {
            format!("; did you mean {near}?")
        });
        assert_eq!(
            refused(&file),
            format!(
                "configuration: unknown key {shown} (from /folder/bellows.toml, line 1): \
                expected a key that bellows knows{near}"
            )
        );
    }
    assert_eq!(
        refused(&Sources { user_data: Some("[queue.url]\nrequest = \"x\"".into()), ..sources(&[]) }),
        "configuration: unknown key queue.url.request = \"x\" (from EC2 user data, line 2): \
         expected a key that bellows knows; did you mean `queue.urls.request`?"
    );
    assert_eq!(
        refused(&set(&[("web.liste", "x")])),
        "configuration: unknown key web.liste = \"x\" (from --set): \
         expected a key that bellows knows; did you mean `web.listen`?"
    );
}

#[test]
fn unknown_variables() {
    let cases = [
        ("BELLOWS_WEB_LISTEN", "BELLOWS_WEB__LISTEN"),
        ("BELLOWS_WEB__LISTN", "BELLOWS_WEB__LISTEN"),
        ("BELLOWS_WEB__listen", "BELLOWS_WEB__LISTEN"),
        ("BELLOWS_PORT", "BELLOWS_WEB__LISTEN"),
        ("BELLOWS_MAX_INSTANCES", "BELLOWS_POOL__MAX_INSTANCES"),
        ("BELLOWS_QUEUE_URLS_REQUEST", "BELLOWS_QUEUE__URLS__REQUEST"),
    ];
    for (name, near) in cases {
        assert_eq!(
            refused(&sources(&[(name, "8080")])),
            format!(
                "configuration: unknown variable {name} = \"8080\" (from the environment): \
                expected a variable that bellows knows; did you mean `{near}`?"
            )
        );
    }
    assert_eq!(
        refused(&sources(&[("BELLOWS_COLOUR", "red")])),
        "configuration: unknown variable BELLOWS_COLOUR = \"red\" (from the environment): \
         expected a variable that bellows knows (BELLOWS_ is kept for its settings)\n  \
         repair: `bellows check-config --defaults` lists all keys; web.listen is BELLOWS_WEB__LISTEN"
    );
}

#[test]
fn tables_and_keys_are_not_mixed_up() {
    let (_folder, file) = with_file("web = 3000");
    assert_eq!(
        refused(&file),
        "configuration: unknown key web = 3000 (from /folder/bellows.toml, line 1): \
         expected `web` to be a table of keys\n  repair: write a line `[web]`, and its keys below"
    );
    let (_folder, file) = with_file("[web.listen]\nport = 1");
    assert_eq!(
        refused(&file),
        "configuration: unknown key web.listen.port = 1 (from /folder/bellows.toml, line 2): \
         expected a key that bellows knows; did you mean `web.listen`?"
    );
    let (_folder, file) = with_file("[web]\n[queue.urls]\n");
    load(&file);
    let (_folder, file) = with_file("[webb]\n");
    assert!(refused(&file).contains("unknown key webb"));
    let (_folder, file) = with_file("web.listen = {}");
    assert!(refused(&file).contains("web.listen = {…} (from /folder/bellows.toml, line 1): expected ADDRESS:PORT"));
}

#[test]
fn files_that_cannot_be_read() {
    let absent = Sources { files: vec!["/nowhere/a.toml".into()], ..sources(&[]) };
    assert_eq!(
        refused(&absent),
        "configuration: the file cannot be read: No such file or directory (os error 2) (from /folder/a.toml): \
         expected a readable TOML file\n  repair: correct the path after --config"
    );
    assert_eq!(
        refused(&sources(&[("BELLOWS_CONFIG", "/nowhere/b.toml")])),
        "configuration: the file cannot be read: No such file or directory (os error 2) (from /nowhere/b.toml): \
         expected a readable TOML file\n  repair: correct the list of files in BELLOWS_CONFIG, or unset it"
    );
    assert_eq!(
        refused(&sources(&[("BELLOWS_USER_DATA_FILE", "/nowhere/c")])),
        "configuration: BELLOWS_USER_DATA_FILE = \"/nowhere/c\" cannot be read: No such file or directory \
         (os error 2) (from BELLOWS_USER_DATA_FILE): expected a readable TOML file\n  \
         repair: correct the path, or unset the variable"
    );
    let folder = Sources { system_file: Some("/".into()), ..sources(&[]) };
    assert_eq!(
        refused(&folder),
        "configuration: the file cannot be read: Is a directory (os error 21) (from /): \
         expected a readable TOML file\n  repair: make it readable, or remove it: it is optional"
    );
    let (_folder, file) = with_file("[web]\nlisten = 127.0.0.1:3000\n");
    assert_eq!(
        refused(&file),
        "configuration: no TOML: invalid float, expected nothing (from /folder/bellows.toml, line 2): \
         expected lines such as `web.listen = \"127.0.0.1:3000\"`, texts in quotes"
    );
    let (_folder, file) = with_file(&"#".repeat((1 << 20) + 1));
    assert!(refused(&file).contains("it is larger than 1048576 bytes (from /folder/bellows.toml)"));
}

/// Each rule that holds between keys, by the one value that breaks it.
#[test]
fn what_must_fit_together() {
    let cases = [
        (
            vec![("pool.min_instances", "5")],
            "pool.min_instances = 5 (from --set): expected at most pool.max_instances, which is 2",
        ),
        (
            vec![("pool.max_instances", "0")],
            "pool.max_instances = 0 (from --set): expected a whole number from 1 to 1000",
        ),
        (
            vec![("pool.name", "a b")],
            "pool.name = \"a b\" (from --set): expected 1 to 64 letters, digits, `.`, `_` or `-`",
        ),
        (vec![("pool.tick", "0s")], "pool.tick = \"0s\" (from --set): expected a duration from 100ms to 10m"),
        (vec![("app.sessions", "0")], "app.sessions = 0 (from --set): expected a whole number from 1 to 256"),
        (vec![("app.app_tier_id", "0")], "app.app_tier_id = 0 (from --set): expected 1 or more"),
        (
            vec![("app.pause", "60s")],
            "app.pause = \"60s\" (from --set): expected less than app.job_deadline, which is 1m and counts the pause",
        ),
        (
            vec![("queue.heartbeat", "30s")],
            "queue.heartbeat = \"30s\" (from --set): expected a duration from 100ms to less than queue.visibility, which is 30s",
        ),
        (
            vec![("queue.visibility", "13h")],
            "queue.visibility = \"13h\" (from --set): expected a duration from 1s to 12h",
        ),
        (
            vec![("queue.max_receives", "0")],
            "queue.max_receives = 0 (from --set): expected a whole number from 1 to 1000",
        ),
        (
            vec![("retention.request_ttl", "4d")],
            "retention.request_ttl = \"4d\" (from --set): expected less than queue.retention, which is 4d",
        ),
        (
            vec![("queue.retention", "14d")],
            "queue.retention = \"14d\" (from --set): expected less than queue.dead_retention, which is 14d",
        ),
        (
            vec![("queue.dead_retention", "15d")],
            "queue.dead_retention = \"15d\" (from --set): expected a duration from 1m to 14d",
        ),
        (
            vec![("retention.inputs", "3d")],
            "retention.inputs = \"3d\" (from --set): expected at least queue.retention, which is 4d",
        ),
        (
            vec![("retention.results", "95h")],
            "retention.results = \"95h\" (from --set): expected at least queue.retention, which is 4d",
        ),
        (
            vec![("web.max_backlog", "999")],
            "web.max_backlog = 999 (from --set): expected at least 1000: uploads are never refused while fewer wait",
        ),
        (
            vec![("web.body_budget", "1 MiB")],
            "web.body_budget = \"1 MiB\" (from --set): expected at least web.max_body, which is 32 MiB",
        ),
        (vec![("web.max_body", "1000")], "web.max_body = 1000 (from --set): expected a size from 1 KiB to 4 GiB"),
        (vec![("web.max_files", "0")], "web.max_files = 0 (from --set): expected a whole number from 1 to 10000"),
        (vec![("web.max_connections", "0")], "web.max_connections = 0 (from --set): expected at least 1"),
        (
            vec![("web.header_timeout", "0s")],
            "web.header_timeout = \"0s\" (from --set): expected a duration from 100ms to 1h",
        ),
        (vec![("web.wait", "2d")], "web.wait = \"2d\" (from --set): expected a duration from 0s to 1d"),
        (
            vec![("metrics.listen", "127.0.0.1:3000")],
            "metrics.listen = \"127.0.0.1:3000\" (from --set): expected another address or port than web.listen",
        ),
        (
            vec![("model.name", "")],
            "model.name = \"\" (from --set): expected a model's name (`bellows model list`), or model.manifest",
        ),
        (
            vec![("web.listen", "0.0.0.0:3000")],
            "web.listen = \"0.0.0.0:3000\" (from --set): expected a loopback address, or tokens in web.tokens: everybody who reaches this address could upload\n  repair: `bellows token new NAME`, or web.allow_anonymous = true where something in front checks",
        ),
    ];
    for (settings, expected) in cases {
        assert_eq!(refused(&set(&settings)), format!("configuration: {expected}"));
    }
}

#[test]
fn a_token_or_a_word_opens_the_service() {
    let token = format!("[\"ci:sha256:{0}\", \"ci:sha256:{0}\"]", "0a".repeat(32));
    load(&set(&[("web.listen", "0.0.0.0:3000"), ("web.allow_anonymous", "true")]));
    load(&set(&[("web.listen", "0.0.0.0:3000"), ("role", "app")]));
    assert_eq!(
        refused(&set(&[("web.tokens", &token)])),
        "configuration: web.tokens = (not shown) (from --set): expected each name once; \"ci\" is there twice"
    );
}

#[test]
fn no_home_no_folder() {
    let error = refused(&Sources { cores: 1, ..Sources::default() });
    assert_eq!(
        error,
        "configuration: local.state_dir = \"auto\" (from default): expected a path: neither XDG_STATE_HOME nor HOME is set\n\
         configuration: model.dir = \"auto\" (from default): expected a path: neither XDG_DATA_HOME nor HOME is set"
    );
}

#[test]
fn aws_needs_its_places() {
    let error = refused(&set(&[("backend", "aws"), ("bucket.input", "in"), ("queue.urls.request", "request_queue")]));
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(
        lines[0],
        "configuration: queue.urls.request = \"request_queue\" (from --set): expected a queue's URL: backend is \"aws\" (backend is from --set)"
    );
    assert_eq!(
        lines[4],
        "configuration: bucket.output = \"\" (from default): expected a bucket's name: backend is \"aws\" (backend is from --set)"
    );
    assert_eq!(lines.len(), 7, "{error}");
    let error = refused(&set(&[("backend", "aws"), ("role", "app"), ("aws.endpoints.s3", "127.0.0.1:9000")]));
    assert!(!error.contains("launch_template") && error.contains("urls.dead"), "{error}");
    assert!(error.ends_with(
        "aws.endpoints.s3 = \"127.0.0.1:9000\" (from --set): expected a URL that begins with http:// or https:// and names a host"
    ));
    for nonsense in ["http://", "http:///path", "ftp://host", "http://a b", "https://host?x=1", "127.0.0.1", "//host"] {
        let error = refused(&set(&[("aws.endpoint", nonsense), ("backend", "aws")]));
        assert!(error.contains("aws.endpoint = "), "{nonsense}: {error}");
    }
    let error = refused(&set(&[("aws.endpoint", "http://127.0.0.1:5000/place"), ("backend", "aws")]));
    assert!(!error.contains("aws.endpoint"), "{error}");
}

#[test]
fn warnings() {
    let warned = |settings: &[(&str, &str)]| load(&set(settings)).config.warnings().join("\n");
    let cases = [
        (
            vec![("web.listen", "0.0.0.0:1"), ("web.allow_anonymous", "true")],
            "web.listen = 0.0.0.0:1 and web.allow_anonymous: whoever reaches it may upload",
        ),
        (
            vec![("metrics.listen", "0.0.0.0:1")],
            "metrics.listen = 0.0.0.0:1: whoever reaches it sees what the service does and decides",
        ),
        (
            vec![("queue.heartbeat", "16s")],
            "queue.heartbeat = 16s is more than half of queue.visibility = 30s: one late heartbeat loses the lease",
        ),
        (
            vec![("web.wait", "1s")],
            "web.wait = 1s is less than a boot and one image take (1100 ms): from an empty pool uploads are answered 202",
        ),
        (
            vec![("pool.boot_prior", "20s"), ("pool.hold", "19s")],
            "pool.hold = 19s is less than a boot takes (20s): the pool will shrink and grow all the time",
        ),
        (
            vec![("retention.inputs", "13d")],
            "retention.inputs = 13d is less than queue.dead_retention = 14d: dead letters outlive their images",
        ),
        (
            vec![("pool.dry_run", "true")],
            "pool.dry_run: the controller decides, and neither launches nor ends anything",
        ),
    ];
    for (settings, expected) in cases {
        assert_eq!(warned(&settings), expected);
    }
    assert_eq!(warned(&[("pool.hold", "auto")]), "");
}
