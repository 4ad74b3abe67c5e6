use super::*;

#[test]
fn defaults_load() {
    let sources = Sources { environment: vec![("HOME".into(), "/h".into())], cores: 2, ..Sources::default() };
    let loaded = Config::load(&sources).unwrap();
    print!("{}", crate::cli::check_config::text(&loaded));
}
