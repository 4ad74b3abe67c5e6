use super::*;
use std::time::Duration;

fn record<'r>(key: &'r str, contents: &'r [u8]) -> Record<'r> {
    Record { key, modified: Timestamp(7), contents: Some(contents) }
}

/// All segments as they are on the disk.
fn segments(folder: &Path) -> Vec<Vec<u8>> {
    fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn promised(segments: &[Vec<u8>]) -> BTreeMap<String, Option<Vec<u8>>> {
    let found = records(segments).into_values();
    found.map(|record| (record.key.to_owned(), record.contents.map(<[u8]>::to_owned))).collect()
}

#[test]
fn what_was_appended_is_read_again_and_the_last_word_counts() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::new(folder.path().into()).unwrap();
    for (key, contents) in
        [("a/x", Some(&b"first"[..])), ("b", Some(b"")), ("a/x", Some(b"second")), ("c", Some(b"c")), ("c", None)]
    {
        let record = Record { key, modified: Timestamp(1), contents };
        assert!(journal.append(&record).unwrap().is_some());
    }
    let expected = [("a/x", Some(b"second".to_vec())), ("b", Some(vec![])), ("c", None)];
    assert_eq!(promised(&segments(folder.path())), expected.map(|(key, value)| (key.to_owned(), value)).into());
    drop(journal);
    assert!(segments(folder.path()).is_empty(), "an orderly end leaves nothing");
}

#[test]
fn a_torn_end_takes_nothing_that_was_promised_before() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::new(folder.path().into()).unwrap();
    let contents = vec![9; 10_000];
    for key in ["one", "two", "three"] {
        journal.append(&record(key, &contents)).unwrap();
    }
    let whole = segments(folder.path()).remove(0);
    let used = 3 * (HEADER + 5 + contents.len()).next_multiple_of(BLOCK);
    for cut in (0..used).step_by(512) {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        let found = promised(&[torn]).len();
        let kept = cut / (used / 3);
        // padding may be cut without harm
        assert!(found == kept || found == kept + 1, "{found} records before {cut}");
        let mut spoilt = whole.clone();
        spoilt[cut] ^= 1;
        assert!(promised(&[spoilt]).len() >= kept);
    }
}

#[test]
fn segments_are_filled_in_turns_and_only_what_is_placed_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::new(folder.path().into()).unwrap();
    let contents = vec![1; LARGEST];
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    let held = journal.append(&record("held", b"not in its place yet")).unwrap().unwrap();
    let mut refused = 0;
    for key in &keys {
        // room comes back when the other segment has been emptied; the first one never is
        if journal.append(&record(key, &contents)).unwrap().is_none() {
            refused += 1;
        }
        let found = promised(&segments(folder.path()));
        assert!(found.contains_key("held"), "forgotten at {key}");
    }
    assert!(refused > 0 && segments(folder.path()).len() == 2);
    drop(held);
    let again = || journal.append(&record("again", &contents)).unwrap().is_some();
    assert!(
        (0..500).any(|_| again() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }),
        "never free again"
    );
    let sizes: u64 = segments(folder.path()).iter().map(|segment| segment.len() as u64).sum();
    assert!(sizes <= 2 * (SEGMENT + GROWTH), "{sizes} bytes");
}

#[test]
fn a_large_object_is_not_for_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::new(folder.path().into()).unwrap();
    assert!(journal.append(&record("large", &vec![0; LARGEST + 1])).unwrap().is_none());
    assert!(segments(folder.path()).is_empty());
}

#[test]
fn who_lives_keeps_its_segments() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = Journal::new(folder.path().into()).unwrap();
    journal.append(&record("mine", b"1")).unwrap();
    assert!(Left::find(folder.path()).unwrap().segments.is_empty());
    let name = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().file_name();
    fs::copy(folder.path().join(&name), elsewhere.path().join(&name)).unwrap();
    let restored = Left::find(elsewhere.path()).unwrap();
    assert_eq!(restored.writers.len(), 1, "a copy is nobody's, whoever lives");
    assert!(Left::find(elsewhere.path()).unwrap().segments.is_empty(), "one cares for it at a time");
    restored.settle().unwrap();
    assert!(segments(elsewhere.path()).is_empty());
}
