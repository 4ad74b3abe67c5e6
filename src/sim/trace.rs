//! When requests come: a table of one's own, a shape, or an access log. All are bins: so many requests, spread at random
//! over so long from then on.

mod shapes;

pub use shapes::SHAPES;

use super::chance::{Draw, fraction};
use flate2::read::GzDecoder;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

const HEADER: [&str; 3] = ["start_seconds", "width_seconds", "requests"];
/// Ten years: beyond it somebody has mistaken the unit.
const LONGEST: f64 = 3650.0 * 86_400.0;
/// More than any run ends with.
const MOST: u64 = 1_000_000_000;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// So many requests, from `start` on for `width` (seconds).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    pub start: f64,
    pub width: f64,
    pub requests: u64,
}

/// Bins in the order of their starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    pub name: String,
    pub bins: Vec<Bin>,
}

impl Trace {
    /// Reads a table (`start_seconds,width_seconds,requests`; gzip, too) from a file. What is wrong is told with file and
    /// line.
    pub fn read(path: &Path) -> Result<Trace, String> {
        let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let bins = parse(open(path).map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
        Ok(Trace { name: name(path), bins })
    }

    /// Counts the requests in an access log (Common Log Format and what goes on from there; gzip, too) by second. Lines
    /// without a time are left out: how many is returned, too.
    pub fn read_log(path: &Path) -> Result<(Trace, u64), String> {
        let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let (mut seconds, mut skipped) = (std::collections::BTreeMap::<u64, u64>::new(), 0);
        for line in open(path).map_err(|e| wrong(&e))?.split(b'\n') {
            match logged(&String::from_utf8_lossy(&line.map_err(|e| wrong(&e))?)) {
                Some(second) => *seconds.entry(second).or_default() += 1,
                None => skipped += 1,
            }
        }
        let Some(first) = seconds.keys().next().copied() else {
            return Err(wrong(&"no line has a time such as [10/Oct/2000:13:55:36 -0700]"));
        };
        let bin = |(second, requests)| Bin { start: (second - first) as f64, width: 1.0, requests };
        Ok((Trace { name: name(path), bins: seconds.into_iter().map(bin).collect() }, skipped))
    }

    pub fn requests(&self) -> u64 {
        self.bins.iter().map(|bin| bin.requests).sum()
    }

    /// From the beginning to the end of the last bin.
    pub fn span(&self) -> Duration {
        Duration::from_secs_f64(self.bins.iter().map(|bin| bin.start + bin.width).fold(0.0, f64::max))
    }

    /// When each request comes, in order. Same seed, same moments.
    pub fn arrivals(&self, seed: u64) -> Arrivals<'_> {
        Arrivals { bins: &self.bins, seed, drawn: 0, next: BinaryHeap::new() }
    }
}

/// Moments from the beginning of the trace, drawn bin by bin.
#[derive(Debug)]
pub struct Arrivals<'a> {
    bins: &'a [Bin],
    seed: u64,
    drawn: u64,
    /// Microseconds, drawn and not given out yet.
    next: BinaryHeap<Reverse<u64>>,
}

impl Iterator for Arrivals<'_> {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        while let Some(bin) = self.bins.first()
            && self.next.peek().is_none_or(|Reverse(first)| bin.start * 1e6 <= *first as f64)
        {
            self.bins = &self.bins[1..];
            for _ in 0..bin.requests {
                let at = bin.start + bin.width * fraction(self.seed, Draw::Arrival, self.drawn);
                self.next.push(Reverse((at * 1e6) as u64));
                self.drawn += 1;
            }
        }
        self.next.pop().map(|Reverse(micros)| Duration::from_micros(micros))
    }
}

fn name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = file.strip_suffix(".gz").unwrap_or(&file);
    stem.strip_suffix(".csv").unwrap_or(stem).to_owned()
}

fn open(path: &Path) -> std::io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::new(File::open(path)?);
    let packed = file.fill_buf()?.starts_with(&GZIP);
    Ok(if packed { Box::new(BufReader::new(GzDecoder::new(file))) } else { Box::new(file) })
}

fn parse(table: impl Read) -> Result<Vec<Bin>, String> {
    let mut rows = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(table);
    let (mut bins, mut last) = (Vec::new(), 0.0);
    for (row, number) in rows.records().zip(1_u64..) {
        let row = row.map_err(|e| format!("line {}: {e}", e.position().map_or(number, csv::Position::line)))?;
        let line = row.position().map_or(number, csv::Position::line);
        if number == 1 {
            if row.iter().ne(HEADER) {
                return Err(format!("line {line}: expected the columns {}", HEADER.join(",")));
            }
            continue;
        }
        let wrong = |column: usize, expected: &str| {
            format!("line {line}: {} = `{}`, expected {expected}", HEADER[column], row.get(column).unwrap_or_default())
        };
        let seconds = |column: usize| {
            let parsed = row.get(column).and_then(|cell| cell.parse::<f64>().ok());
            let expected = "seconds, not below 0 and at most ten years";
            parsed.filter(|seconds| (0.0..=LONGEST).contains(seconds)).ok_or_else(|| wrong(column, expected))
        };
        let requests = row.get(2).and_then(|cell| cell.parse::<u64>().ok()).filter(|requests| *requests <= MOST);
        let bin = Bin {
            start: seconds(0)?,
            width: seconds(1)?,
            requests: requests.ok_or_else(|| wrong(2, "a whole number, not below 0"))?,
        };
        if bin.start < last {
            return Err(wrong(0, "no less than in the line before"));
        }
        last = bin.start;
        bins.push(bin);
    }
    if bins.iter().all(|bin| bin.requests == 0) { Err("no requests in it".into()) } else { Ok(bins) }
}

/// The second at which a line of an access log was written: `[10/Oct/2000:13:55:36 -0700]`.
fn logged(line: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let stamp = line.split_once('[')?.1.split_once(']')?.0;
    let (moment, zone) = stamp.split_once(' ').unwrap_or((stamp, "+0000"));
    let parts: Vec<&str> = moment.split(['/', ':']).collect();
    let [day, month, year, hour, minute, second] = parts.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    let number = |text: &str| text.parse::<u64>().ok();
    let days = days(number(year)?, month, number(day)?)?;
    let local = days * 86_400 + number(hour)? * 3600 + number(minute)? * 60 + number(second)?;
    let (sign, ahead) = zone.split_at_checked(1)?;
    let (hours, minutes) = ahead.split_at_checked(2)?;
    let ahead = number(hours)? * 3600 + number(minutes)? * 60;
    if sign == "-" { local.checked_add(ahead) } else { local.checked_sub(ahead) }
}

/// Days from 1970-01-01 to this one.
fn days(year: u64, month: usize, day: u64) -> Option<u64> {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let passed = year.checked_sub(1).filter(|_| (1970..=9999).contains(&year) && (1..=31).contains(&day))?;
    let leaps = passed / 4 - passed / 100 + passed / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    Some((year - 1970) * 365 + leaps + BEFORE[month - 1] + u64::from(leap && month > 2) + day - 1)
}

#[cfg(test)]
mod tests;
