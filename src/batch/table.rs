//! The table that grows: a row a file, appended as answers come.

use crate::edge::disk;
use csv::{ReaderBuilder, StringRecord, WriterBuilder};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

const COLUMNS: [&str; 5] = ["file", "label", "confidence", "sha256", "error"];
/// Rows that a power cut may take: they are asked again.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// One file with its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub file: String,
    pub label: String,
    pub confidence: Option<f32>,
    pub sha256: String,
    /// The code of what is wrong with it; empty where it has a label.
    pub error: String,
}

/// A table on the disk. Nobody else writes it meanwhile.
#[derive(Debug)]
pub struct Table {
    file: File,
    path: PathBuf,
    known: BTreeSet<String>,
    synced: Instant,
}

impl Table {
    /// Opens a table, and creates it where absent. A last row that was not written whole is taken back.
    pub fn open(path: &Path) -> io::Result<Table> {
        let told = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        Table::open_or_fail(path).map_err(told)
    }

    fn open_or_fail(path: &Path) -> io::Result<Table> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another run writes this table"),
            TryLockError::Error(e) => e,
        })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (known, whole) = read(&bytes)?;
        file.set_len(whole)?;
        file.seek(SeekFrom::End(0))?;
        if whole == 0 {
            file.write_all(&line(&COLUMNS)?)?;
        }
        file.sync_all()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        disk::sync_folder(folder)?;
        Ok(Table { file, path: path.to_owned(), known, synced: Instant::now() })
    }

    /// Whether a file has a row.
    pub fn contains(&self, file: &str) -> bool {
        self.known.contains(file)
    }

    /// Writes a row. It survives the end of this process at once, and a power cut after the next step of fsync.
    pub fn append(&mut self, row: &Row) -> io::Result<()> {
        let confidence = row.confidence.map(|p| p.to_string()).unwrap_or_default();
        let line = line(&[&row.file, &row.label, &confidence, &row.sha256, &row.error])?;
        self.file.write_all(&line).map_err(|e| self.told(&e))?;
        self.known.insert(row.file.clone());
        if self.synced.elapsed() >= SYNC_AFTER { self.sync() } else { Ok(()) }
    }

    /// Makes all rows survive a power cut.
    pub fn sync(&mut self) -> io::Result<()> {
        self.synced = Instant::now();
        self.file.sync_data().map_err(|e| self.told(&e))
    }

    fn told(&self, e: &io::Error) -> io::Error {
        io::Error::new(e.kind(), format!("{}: {e}", self.path.display()))
    }
}

fn line(cells: &[&str]) -> io::Result<Vec<u8>> {
    let mut row = WriterBuilder::new().from_writer(Vec::new());
    row.write_record(cells)?;
    row.into_inner().map_err(|e| io::Error::other(e.to_string()))
}

/// The files of a table that have a row, and how many bytes of it are whole.
fn read(bytes: &[u8]) -> io::Result<(BTreeSet<String>, u64)> {
    if line(&COLUMNS)?.starts_with(bytes) {
        return Ok((BTreeSet::new(), 0));
    }
    let mut table = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let (mut known, mut row, mut number) = (BTreeSet::new(), StringRecord::new(), 0_u64);
    loop {
        let start = table.position().byte();
        let good = match table.read_record(&mut row) {
            Ok(false) => return Ok((known, start)),
            Ok(true) => row.len() == COLUMNS.len(),
            // half of a letter
            Err(_) => false,
        };
        let end = table.position().byte();
        let is_last = end as usize >= bytes.len();
        if number > 0 && is_last && !(good && bytes.ends_with(b"\n")) {
            return Ok((known, start));
        }
        number += 1;
        if !good || number == 1 && row != COLUMNS[..] {
            let why = format!("row {number} is not one that `bellows batch` writes ({})", COLUMNS.join(","));
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        if number > 1 {
            known.insert(row[0].to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(file: &str, error: &str) -> Row {
        let confidence = error.is_empty().then_some(0.5);
        Row { file: file.into(), label: "tub, bath".into(), confidence, sha256: "ab".into(), error: error.into() }
    }

    #[test]
    fn a_table_goes_on_wherever_it_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.csv");
        let files = ["a.png", "ü \"b\".png", "c\nd.png", "e,f.png"];
        let mut table = Table::open(&path).unwrap();
        for file in files {
            table.append(&row(file, "")).unwrap();
        }
        drop(table);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut table = Table::open(&path).unwrap();
            for file in files {
                if !table.contains(file) {
                    table.append(&row(file, "")).unwrap();
                }
            }
            drop(table);
            let again = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(again.as_bytes(), whole, "cut at {cut}: {again}");
        }
    }

    #[test]
    fn a_row_reads_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.csv");
        let mut table = Table::open(&path).unwrap();
        table.append(&row("a.png", "")).unwrap();
        table.append(&Row { label: String::new(), ..row("b.txt", "unsupported-image") }).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected =
            "file,label,confidence,sha256,error\na.png,\"tub, bath\",0.5,ab,\nb.txt,,,ab,unsupported-image\n";
        assert_eq!(text, expected);
        let busy = Table::open(&path).unwrap_err().to_string();
        assert!(busy.contains("another run"), "{busy}");
    }

    #[test]
    fn what_somebody_else_wrote_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.csv");
        for other in
            ["a shopping list\nmilk\n", "milk", "file,label\na,b\n", "file,label,confidence,sha256,error\na,b\nc\n"]
        {
            std::fs::write(&path, other).unwrap();
            let error = Table::open(&path).unwrap_err().to_string();
            assert!(error.contains("is not one that `bellows batch` writes"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), other);
        }
    }
}
