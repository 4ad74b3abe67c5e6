//! The page, in a browser: real photographs, their bars, the charts, and nothing that goes elsewhere.
//!
//! The pictures that it takes lie in target/page/ afterwards; docs/page.png is light.png of them in 256 colours.

use crate::support::browser::Page;
use crate::support::daemon::{Daemon, Options};
use crate::support::raw::{JSON, ask};
use crate::support::{images, root, shared};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const PHOTOGRAPHS: [&str; 6] = [
    "n01440764_tench.JPEG",
    "n01820546_lorikeet.JPEG",
    "n02007558_flamingo.JPEG",
    "n01860187_black_swan.JPEG",
    "n02165105_tiger_beetle.JPEG",
    "n01601694_water_ouzel.JPEG",
];
/// Every card: its picture's text, its labels, their shares and the widths of their bars, and what is wrong.
const CARDS: &str = "[...document.querySelectorAll('.answer')].map(card => ({
    name: card.querySelector('h3').textContent,
    alt: card.querySelector('img, .blank').alt ?? card.querySelector('.blank').getAttribute('aria-label'),
    drawn: (card.querySelector('img')?.naturalWidth ?? 0) > 0,
    labels: [...card.querySelectorAll('.label')].map(label => label.textContent),
    widths: [...card.querySelectorAll('.bar')].map(bar => bar.offsetWidth / bar.parentElement.offsetWidth),
    wrong: card.querySelector('.wrong')?.textContent ?? null }))";
/// What has no name for those who do not see it, or is wider than the page.
const NAMELESS: &str = "[...document.querySelectorAll('img, svg, input, button, a, summary')].filter(e =>
    !(e.alt || e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())).map(e => e.outerHTML)";
const TOO_WIDE: &str = "document.documentElement.scrollWidth > innerWidth";

/// With the default model, for photographs.
fn daemon(state: &std::path::Path) -> Daemon {
    let mut options = Options::new(state);
    options.settings.retain(|setting| !setting.starts_with("model.manifest"));
    // slow enough for a pool that is seen to grow
    let settings = ["pool.min_instances=1", "pool.max_instances=4", "pool.policy=per-request", "app.pause=1s"];
    settings.into_iter().fold(options, Options::set).start_ready()
}

fn keep(page: &mut Page, name: &str) {
    let folder = root().join("target/page");
    std::fs::create_dir_all(&folder).unwrap();
    let file = std::fs::File::create(folder.join(name)).unwrap();
    let mut decode = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(file).spawn().unwrap();
    std::io::Write::write_all(&mut decode.stdin.take().unwrap(), page.picture().as_bytes()).unwrap();
    assert!(decode.wait().unwrap().success());
}

/// Nothing went wrong, and nobody else was asked for anything.
fn is_clean(page: &mut Page, daemon: &Daemon) {
    assert_eq!(page.errors(), Vec::<&Value>::new());
    let home = format!("{}/", daemon.url);
    let foreign = |url: &String| !url.starts_with(&home) && !url.starts_with("blob:") && !url.starts_with("data:");
    let foreign: Vec<String> = page.requests().into_iter().filter(foreign).collect();
    assert!(foreign.is_empty() && page.requests().len() > 4, "{foreign:?}");
    assert_eq!(page.value(NAMELESS), serde_json::json!([]));
    assert_eq!(page.value(TOO_WIDE), false);
}

fn visit(daemon: &Daemon, width: u32, scheme: &str) -> Option<Page> {
    let mut page = Page::open(width, 900, scheme)?;
    page.visit(&format!("{}/", daemon.url));
    page.wait_for("document.getElementById('state').textContent === 'Ready.'");
    Some(page)
}

fn upload(page: &mut Page, files: &[PathBuf]) -> Vec<Value> {
    page.choose("#files", &files.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let done = format!("document.getElementById('progress').textContent.startsWith('{0} of {0} image')", files.len());
    page.wait_for(&done);
    page.wait_for("[...document.images].every(image => image.complete)");
    page.value(CARDS).as_array().unwrap().clone()
}

#[test]
fn photographs_get_their_bars() {
    // a browser reads no path with `..` in it
    let Some(folder) = shared().map(|folder| folder.canonicalize().unwrap()) else { return };
    let state = tempfile::tempdir().unwrap();
    let daemon = daemon(state.path());
    let Some(mut page) = visit(&daemon, 1240, "light") else { return };
    let files: Vec<PathBuf> = PHOTOGRAPHS.iter().map(|name| folder.join("images").join(name)).collect();
    for ((card, file), name) in upload(&mut page, &files).iter().zip(&files).zip(PHOTOGRAPHS) {
        let bytes = std::fs::read(file).unwrap();
        let answer = ask(&daemon.url, "PUT", "/classify", &[JSON], &bytes).json();
        let told = answer["predictions"].as_array().unwrap();
        assert_eq!((&card["name"], &card["drawn"]), (&name.into(), &true.into()), "{card}");
        let labels: Vec<&Value> = told.iter().map(|p| &p["label"]).collect();
        assert_eq!((card["labels"].as_array().unwrap().iter().collect::<Vec<_>>(), labels.len()), (labels, 5));
        for (width, prediction) in card["widths"].as_array().unwrap().iter().zip(told) {
            let apart = width.as_f64().unwrap() - prediction["probability"].as_f64().unwrap();
            assert!(apart.abs() < 0.02, "{card} {told:?}");
        }
        let alt = card["alt"].as_str().unwrap();
        assert!(alt.starts_with(&format!("{name}: {}, ", answer["label"].as_str().unwrap())), "{alt}");
    }
    page.wait_for("[...document.querySelectorAll('#queue-chart path')].length === 3");
    page.wait_for("document.querySelector('#decisions time') !== null");
    page.wait_for("document.getElementById('model').textContent.includes('efficientnet-lite0, onnxruntime ')");
    page.wait_for("document.getElementById('announcer').textContent !== ''");
    page.wait_for("+document.getElementById('ready').textContent >= 1");
    keep(&mut page, "light.png");
    is_clean(&mut page, &daemon);
}

#[test]
fn on_a_phone_in_the_dark_and_what_is_wrong_is_said() {
    let (state, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let daemon = Options::new(state.path()).start_warm(1);
    let Some(mut page) = visit(&daemon, 360, "dark") else { return };
    let red = images::png([255, 0, 0], 1);
    let markup = "<img src=x onerror=alert(1)>.png";
    let made = [(markup, &red[..]), ("cut.png", &red[..red.len() / 2]), ("note.jpg", b"no image at all, really")];
    let paths: Vec<PathBuf> = made.iter().map(|(name, _)| files.path().join(name)).collect();
    for (path, (_, bytes)) in paths.iter().zip(made) {
        std::fs::write(path, bytes).unwrap();
    }
    let named = upload(&mut page, &paths[..1]);
    assert_eq!((&named[0]["name"], &named[0]["labels"][0]), (&markup.into(), &"red".into()));
    is_clean(&mut page, &daemon);
    page.value("document.getElementById('clear').click()");
    let wrong = upload(&mut page, &paths[1..]);
    for (card, words) in wrong.iter().zip(["cannot be decoded", "not an image"]) {
        assert!(card["wrong"].as_str().is_some_and(|text| text.contains(words)), "{card}");
        assert!(card["alt"].as_str().unwrap().ends_with(", no label"), "{card}");
    }
    assert_eq!(page.value(TOO_WIDE), false);
    assert_eq!(page.value(NAMELESS), serde_json::json!([]));
    keep(&mut page, "phone.png");
}

/// Tab reaches everything in its order; a token is kept in the tab and sent.
#[test]
fn by_keyboard_and_with_a_token() {
    let state = tempfile::tempdir().unwrap();
    let daemon = Options::new(state.path()).start_warm(1);
    let Some(mut page) = visit(&daemon, 900, "light") else { return };
    for expected in ["files", "SUMMARY", "decisions"] {
        page.press("Tab", 9);
        assert_eq!(page.value("document.activeElement.id || document.activeElement.tagName"), expected);
        assert_ne!(page.value("getComputedStyle(document.activeElement.closest('label, *')).outlineStyle"), "");
    }
    page.value("document.getElementById('token-box').open = true; document.getElementById('token').value = ' secret '");
    page.value("document.querySelector('#token-form button').click()");
    assert_eq!(page.value("sessionStorage.getItem('bellows-token')"), "secret");
    assert_eq!(page.value("document.getElementById('token').value + document.cookie + localStorage.length"), "0");
    let file = state.path().join("red.png");
    std::fs::write(&file, images::png([255, 0, 0], 2)).unwrap();
    upload(&mut page, &[file]);
    let uploads = page.reported("Network.requestWillBeSent").into_iter().map(|event| &event["request"]);
    let upload = uploads.rev().find(|request| request["method"] == "PUT").unwrap();
    assert_eq!(upload["headers"]["Authorization"], "Bearer secret", "{upload}");
}
