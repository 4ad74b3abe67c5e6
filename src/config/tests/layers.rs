//! Which layer wins, what a variable may hold, and that what is printed loads again.

use super::*;

/// A price with and without a point, as people write it and as Terraform does.
#[test]
fn prices() {
    for (given, price) in [("0", 0.0), ("2", 2.0), ("0.0466", 0.0466)] {
        assert_eq!(load(&set(&[("pool.instance_usd_per_hour", given)])).config.pool.instance_usd_per_hour, Usd(price));
        let (_folder, sources) = with_file(&format!("pool.instance_usd_per_hour = {given}\n"));
        assert_eq!(load(&sources).config.pool.instance_usd_per_hour, Usd(price));
    }
}

/// One key in all six layers; taken away from the top, the next one shows.
#[test]
fn later_layers_win() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, wait: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("web.wait = \"{wait}\"\n")).unwrap();
        path
    };
    let mut all = Sources {
        system_file: Some(file("system.toml", "1s")),
        files: vec![file("third.toml", "3s"), file("fourth.toml", "4s")],
        user_data: Some("[web]\nwait = \"5s\"".into()),
        flags: vec![flag("web.wait", "7s"), flag("web.wait", "8s")],
        ..sources(&[("BELLOWS_WEB__WAIT", "6s"), ("BELLOWS_CONFIG", "")])
    };
    all.environment.push(("BELLOWS_CONFIG".into(), file("second.toml", "2s").into()));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let wait = |sources: &Sources| printed(&load(sources), "web.wait");

    assert_eq!(wait(&all), "web.wait = \"8s\"  # --set");
    all.flags.clear();
    assert_eq!(wait(&all), "web.wait = \"6s\"  # BELLOWS_WEB__WAIT");
    all.environment.retain(|(name, _)| name != "BELLOWS_WEB__WAIT");
    assert_eq!(wait(&all), "web.wait = \"5s\"  # EC2 user data");
    all.user_data = None;
    assert_eq!(wait(&all), format!("web.wait = \"4s\"  # {}", path("fourth.toml")));
    all.files.pop();
    assert_eq!(wait(&all), format!("web.wait = \"3s\"  # {}", path("third.toml")));
    all.files.pop();
    assert_eq!(wait(&all), format!("web.wait = \"2s\"  # {}", path("second.toml")));
    all.environment.retain(|(name, _)| name != "BELLOWS_CONFIG");
    assert_eq!(wait(&all), format!("web.wait = \"1s\"  # {}", path("system.toml")));
    all.system_file = Some(folder.path().join("absent.toml"));
    assert_eq!(wait(&all), "web.wait = \"5m\"  # default");
}

#[test]
fn user_data_may_come_from_a_file() {
    let (folder, _) = with_file("bucket.input = \"in\"");
    let path = folder.path().join("bellows.toml").display().to_string();
    let loaded = load(&sources(&[("BELLOWS_USER_DATA_FILE", &path)]));
    assert_eq!(printed(&loaded, "bucket.input"), "bucket.input = \"in\"  # EC2 user data");
}

#[test]
fn shorthands_are_flags_by_their_own_name() {
    let args = ConfigArgs {
        set: vec!["web.listen=127.0.0.1:1".into(), "model.name=a=b".into()],
        listen: Some("127.0.0.1:2".into()),
        state_dir: Some("/var/x".into()),
        role: Some("app".into()),
        ..ConfigArgs::default()
    };
    let loaded = load(&Sources { flags: args.sources().flags, ..sources(&[]) });
    assert_eq!(printed(&loaded, "web.listen"), "web.listen = \"127.0.0.1:2\"  # --listen");
    assert_eq!(printed(&loaded, "local.state_dir"), "local.state_dir = \"/var/x\"  # --state-dir");
    assert_eq!(printed(&loaded, "role"), "role = \"app\"  # --role");
    assert_eq!(printed(&loaded, "model.name"), "model.name = \"a=b\"  # --set");
}

#[test]
fn a_flag_that_sets_nothing_is_wrong_usage() {
    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        config: ConfigArgs,
    }
    let parse = |set: &str| <Cli as clap::Parser>::try_parse_from(["bellows", "--set", set]);
    assert_eq!(parse("web.wait=").unwrap().config.set, ["web.wait="]);
    assert!(parse("web.wait").unwrap_err().to_string().contains("expected KEY=VALUE, such as web.wait=2m"));
    assert!(parse("=1").is_err());
}

#[test]
fn a_variable_may_hold_a_list() {
    let token = format!("ci:sha256:{}", "0a".repeat(32));
    let loaded = load(&sources(&[
        ("BELLOWS_AWS__SUBNETS", "[\"subnet-1\", \"subnet-2\"]"),
        ("BELLOWS_WEB__TOKENS", &format!("[\"{token}:max_outstanding=5\"]")),
        ("BELLOWS_AWS__INSTANCE_TYPES", " [] "),
    ]));
    assert_eq!(loaded.config.aws.subnets, [Text("subnet-1".into()), Text("subnet-2".into())]);
    assert_eq!(loaded.config.web.tokens[0].max_outstanding, Some(5));
    assert!(loaded.config.aws.instance_types.is_empty());
}

#[test]
fn names_that_look_like_something_else_stay_as_written() {
    for name in ["42", "007", "1.10", "1e3", "true", "0x1f", "-3", "2026-01-01", "99999999999999999999", "a]"] {
        let loaded = load(&sources(&[("BELLOWS_APP__INSTANCE_ID", name)]));
        assert_eq!(&*loaded.config.app.instance_id, name);
        assert_eq!(&*load(&set(&[("app.instance_id", name)])).config.app.instance_id, name);
    }
    let (_folder, sources) = with_file("[app]\ninstance_id = 42\n[model]\nname = true");
    let config = load(&sources).config;
    assert_eq!((&*config.app.instance_id, &*config.model.name), ("42", "true"));
}

#[test]
fn quotes_make_a_text_of_anything() {
    let loaded = load(&set(&[("model.name", "\"[odd]\"")]));
    assert_eq!(&*loaded.config.model.name, "[odd]");
}

#[test]
fn numbers_and_switches_by_variable() {
    let loaded = load(&sources(&[
        ("BELLOWS_POOL__MAX_INSTANCES", "7"),
        ("BELLOWS_POOL__DRY_RUN", "true"),
        ("BELLOWS_WEB__MAX_BODY", "1048576"),
        ("BELLOWS_POOL__HOLD", "0"),
    ]));
    let config = loaded.config;
    assert_eq!((config.max_instances(), config.pool.dry_run, config.web.max_body.0), (7, true, 1 << 20));
    assert!(config.hold(std::time::Duration::from_secs(100)).is_zero());
}

#[test]
fn auto_takes_a_value_back() {
    let (_folder, mut sources) = with_file("pool.max_instances = 9\n");
    assert_eq!(load(&sources).config.max_instances(), 9);
    sources.flags.push(flag("pool.max_instances", "auto"));
    assert_eq!(printed(&load(&sources), "pool.max_instances"), "pool.max_instances = 2  # computed");
}

#[test]
fn foreign_variables_are_left_alone() {
    load(&sources(&[
        ("BELLOWS_TOKEN", "secret"),
        ("BELLOWS_URL", "http://x"),
        ("BELLOWS_DEBUG_BARRIER", "1"),
        ("BELLOWS_PORT", "tcp://10.0.0.1:3000"),
        ("BELLOWS_PORT_3000_TCP_ADDR", "10.0.0.1"),
        ("BELLOWS_SERVICE_HOST", "10.0.0.1"),
        ("BELLOWSX", "1"),
        ("bellows_web__listen", "1"),
    ]));
}

#[cfg(unix)]
#[test]
fn variables_that_are_no_text() {
    use std::os::unix::ffi::OsStringExt;
    let broken = || std::ffi::OsString::from_vec(vec![b'a', 0xff]);
    let mut sources = sources(&[]);
    sources.environment.push(("LS_COLORS".into(), broken()));
    load(&sources);
    sources.environment.push(("BELLOWS_MODEL__NAME".into(), broken()));
    assert_eq!(
        refused(&sources),
        "configuration: BELLOWS_MODEL__NAME = \"a\u{fffd}\" (from BELLOWS_MODEL__NAME): expected text in UTF-8"
    );
}

#[test]
fn the_state_folder_follows_xdg() {
    let dir = |environment: &[(&str, &str)]| load(&sources(environment)).config.state_dir();
    assert_eq!(dir(&[]), PathBuf::from("/home/u/.local/state/bellows"));
    assert_eq!(dir(&[("XDG_STATE_HOME", "/s")]), PathBuf::from("/s/bellows"));
    assert_eq!(dir(&[("XDG_STATE_HOME", "relative")]), PathBuf::from("/home/u/.local/state/bellows"));
    assert_eq!(dir(&[("XDG_STATE_HOME", "/s\u{1f}")]), PathBuf::from("/home/u/.local/state/bellows"));
    assert_eq!(dir(&[("BELLOWS_LOCAL__STATE_DIR", "/d")]), PathBuf::from("/d"));
}

#[test]
fn what_is_printed_loads_to_the_same() {
    let token = format!("ci:sha256:{}:max_outstanding=5", "0a".repeat(32));
    let first = load(&Sources {
        flags: vec![
            flag("web.tokens", &format!("[\"{token}\"]")),
            flag("model.name", "odd \"name\" \\ # ä\u{2028}"),
            flag("web.wait", "90000ms"),
            flag("web.max_body", "12345"),
            flag("pool.hold", "0"),
            flag("app.instance_id", "007"),
            flag("aws.launch_template_version", "12"),
            flag("app.app_tier_id", "3"),
        ],
        system_file: None,
        ..sources(&[])
    });
    let text = crate::cli::check_config::text(&first);
    assert_eq!(text.lines().count(), keys::all().count(), "one line a value");
    let second = load(&Sources { user_data: Some(text.clone()), cores: 9, ..sources(&[("HOME", "/other")]) });
    let same = Config { host: second.config.host.clone(), ..first.config.fixed() };
    assert_eq!(second.config.fixed(), same);
    let strip = |text: &str| text.lines().map(|l| l.rsplit_once("  # ").unwrap().0.to_owned()).collect::<Vec<_>>();
    assert_eq!(strip(&crate::cli::check_config::text(&second)), strip(&text));
}

#[test]
fn an_origin_stays_in_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a\nb.toml");
    std::fs::write(&path, "web.wait = \"1s\"").unwrap();
    let loaded = load(&Sources { files: vec![path], ..sources(&[]) });
    let text = crate::cli::check_config::text(&loaded);
    assert_eq!(text.lines().count(), keys::all().count());
    assert!(printed(&loaded, "web.wait").ends_with("/a\\nb.toml"));
}

#[test]
fn a_peek_needs_nothing_else_to_be_right() {
    let sources = set(&[("backend", "aws"), ("role", "app"), ("web.wait", "soon")]);
    assert_eq!(Config::peek(&sources), Some((Role::App, Backend::Aws)));
    assert_eq!(Config::peek(&set(&[("backend", "moon")])), None);
}
