//! The queue and the pool over time, as SVG: above what waits, below who works on it. Pure.

use bellows_core::ledger::{Decided, Entry, What};
use bellows_core::scale::Rule;
use bellows_core::time::Timestamp;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 928.0;
/// Top and bottom of what waits, and of the pool.
const QUEUE: (f64, f64) = (104.0, 264.0);
const POOL: (f64, f64) = (328.0, 508.0);

/// Drawn no higher than this.
const HIGHEST: u64 = 1 << 50;

const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#1f2328}
.title{font-size:17px;font-weight:600}.soft{fill:#59636e}.head{font-weight:600}
.paper{fill:#fff}.grid{stroke:#d1d9e0}.axis{stroke:#59636e}
.demand{fill:#8250df;fill-opacity:.25;stroke:#8250df}
.ready{fill:#2da44e}.booting{fill:#e3a008}.ending{fill:#8c959f}
.wanted{fill:none;stroke:#1f2328;stroke-width:2}.most{fill:none;stroke:#cf222e;stroke-dasharray:6 4}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}.paper{fill:#0d1117}.grid{stroke:#2f353d}
.axis{stroke:#9198a1}.demand{fill:#a371f7;stroke:#a371f7}.ready{fill:#3fb950}.booting{fill:#d29922}.ending{fill:#6e7681}
.wanted{stroke:#f0f6fc}.most{stroke:#f85149}}
";

/// The numbers from a moment on until the next point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    at: u64,
    demand: u64,
    ready: u64,
    booting: u64,
    ending: u64,
    wanted: u64,
}

impl Point {
    fn of(at: Timestamp, decided: &Decided) -> Point {
        let inputs = &decided.inputs;
        Point {
            at: at.0,
            demand: decided.demand.min(HIGHEST),
            ready: u64::from(inputs.ready),
            booting: u64::from(inputs.booting) + u64::from(inputs.intended),
            ending: u64::from(inputs.retiring) + u64::from(inputs.terminating),
            wanted: u64::from(decided.wanted),
        }
    }

    fn pool(self) -> u64 {
        self.ready + self.booting + self.ending
    }

    fn is_quiet(self) -> bool {
        self.demand == 0 && self.wanted == 0 && self.pool() == 0
    }
}

/// Draws the decisions among these entries, without the quiet before and after; none where there are no decisions.
pub(super) fn of(entries: &[Entry]) -> Option<String> {
    let decisions = entries.iter().filter_map(|entry| match &entry.what {
        What::Decided(decided) => Some((entry, decided)),
        What::Happened(_) => None,
    });
    let (newest, policy) = decisions.clone().next_back()?;
    let points: Vec<Point> = decisions.map(|(entry, decided)| Point::of(entry.at, decided)).collect();
    let (points, end) = without_quiet(&points, newest.until.0);
    let scene = Scene { begin: points[0].at, end, points, most: u64::from(policy.inputs.max) };
    Some(scene.draw(policy))
}

/// The points around what is not quiet, and where the picture ends. `until`: as long as the last point held.
fn without_quiet(points: &[Point], until: u64) -> (Vec<Point>, u64) {
    let busy = |point: &Point| !point.is_quiet();
    let (Some(first), Some(last)) = (points.iter().position(busy), points.iter().rposition(busy)) else {
        return (points.to_vec(), until.max(points[0].at + 1));
    };
    let ends = points.get(last + 1).map_or(until, |point| point.at).max(points[first].at + 1);
    let margin = (ends - points[first].at) / 20;
    let mut shown = points[first..points.len().min(last + 2)].to_vec();
    if first > 0 {
        let at = points[first].at.saturating_sub(margin).max(points[first - 1].at);
        shown.insert(0, Point { at, ..points[first - 1] });
    }
    (shown, until.min(ends + margin).max(ends))
}

struct Scene {
    points: Vec<Point>,
    begin: u64,
    end: u64,
    most: u64,
}

impl Scene {
    fn draw(&self, policy: &Decided) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
             <title>Queue and pool over time</title>\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n"
        );
        let day = &Timestamp(self.begin).to_string()[..10];
        text(&mut svg, "title", LEFT, 34.0, "start", &format!("Queue and pool, {day}"));
        text(&mut svg, "soft", LEFT, 56.0, "start", &settings(policy));
        self.queue(&mut svg);
        self.pool(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn queue(&self, svg: &mut String) {
        let panel = self.panel(QUEUE, self.points.iter().map(|point| point.demand).max());
        text(svg, "head", LEFT, QUEUE.0 - 14.0, "start", "requests that wait or are worked on");
        panel.axes(svg, false);
        panel.area(svg, "demand", |point| (0, point.demand));
    }

    fn pool(&self, svg: &mut String) {
        let highest = self.points.iter().map(|point| point.pool().max(point.wanted)).max().unwrap_or(0);
        // a limit far above all that is needed would press the rest flat
        let limit = (highest.saturating_mul(2) >= self.most).then_some(self.most);
        let panel = self.panel(POOL, Some(highest.max(limit.unwrap_or(0))));
        text(svg, "head", LEFT, POOL.0 - 14.0, "start", "instances");
        panel.axes(svg, true);
        panel.area(svg, "ending", |point| (point.ready + point.booting, point.pool()));
        panel.area(svg, "booting", |point| (point.ready, point.ready + point.booting));
        panel.area(svg, "ready", |point| (0, point.ready));
        if let Some(limit) = limit {
            let y = panel.y(limit);
            let _ = writeln!(svg, "<path class=\"most\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
        }
        panel.line(svg, "wanted", |point| point.wanted);
        legend(svg, limit.is_some());
    }

    fn panel(&self, (top, bottom): (f64, f64), highest: Option<u64>) -> Panel<'_> {
        let highest = highest.unwrap_or(0).max(1);
        let step = nice(highest.div_ceil(4));
        Panel { scene: self, top, bottom, step, highest: highest.div_ceil(step) * step }
    }
}

/// The policy in the spelling of the configuration.
fn settings(policy: &Decided) -> String {
    let (name, inputs) = (rule(policy.rule), &policy.inputs);
    let seconds = |ms: u64| format!("{}s", ms as f64 / 1e3);
    let target = match policy.rule {
        Rule::PerRequest => String::new(),
        Rule::Backlog | Rule::Deadline => format!(" · pool.latency_target {}", seconds(inputs.target_ms)),
    };
    format!(
        "pool.policy {name}{target} · pool.min_instances {} · pool.max_instances {} · pool.hold {}",
        inputs.min,
        inputs.max,
        seconds(inputs.hold_ms)
    )
}

fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::PerRequest => "per-request",
        Rule::Backlog => "backlog",
        Rule::Deadline => "deadline",
    }
}

/// One diagram of the two.
struct Panel<'a> {
    scene: &'a Scene,
    top: f64,
    bottom: f64,
    step: u64,
    highest: u64,
}

impl Panel<'_> {
    fn x(&self, at: u64) -> f64 {
        let span = (self.scene.end - self.scene.begin).max(1) as f64;
        let into = at.clamp(self.scene.begin, self.scene.end) - self.scene.begin;
        LEFT + (RIGHT - LEFT) * into as f64 / span
    }

    fn y(&self, value: u64) -> f64 {
        self.bottom - (self.bottom - self.top) * value as f64 / self.highest as f64
    }

    /// Grid, axes and their numbers; the axis of time has its unit where it is `titled`.
    fn axes(&self, svg: &mut String, titled: bool) {
        for value in (0..=self.highest).step_by(usize::try_from(self.step).unwrap_or(1)) {
            let y = self.y(value);
            let class = if value == 0 { "axis" } else { "grid" };
            let _ = writeln!(svg, "<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
            text(svg, "soft", LEFT - 8.0, y + 4.0, "end", &value.to_string());
        }
        let span = self.scene.end - self.scene.begin;
        let (step, unit, name) = time_step(span);
        for ms in (0..=span).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let x = self.x(self.scene.begin + ms);
            let _ = writeln!(svg, "<path class=\"axis\" d=\"M{x:.1} {:.1}v5\"/>", self.bottom);
            text(svg, "soft", x, self.bottom + 20.0, "middle", &(ms as f64 / unit as f64).to_string());
        }
        if titled {
            let (middle, begin) = (f64::midpoint(LEFT, RIGHT), Timestamp(self.scene.begin).to_string());
            let title = format!("{name} since {} UTC", &begin[11..19]);
            text(svg, "soft", middle, self.bottom + 40.0, "middle", &title);
        }
    }

    /// Moments and heights where the height changes, and the last moment.
    fn steps(&self, height: impl Fn(&Point) -> u64) -> Vec<(f64, f64)> {
        let mut steps: Vec<(u64, u64)> = self.scene.points.iter().map(|point| (point.at, height(point))).collect();
        steps.dedup_by_key(|step| step.1);
        let last = steps.last().map(|step| (self.scene.end, step.1));
        steps.into_iter().chain(last).map(|(at, value)| (self.x(at), self.y(value))).collect()
    }

    fn line(&self, svg: &mut String, class: &str, height: impl Fn(&Point) -> u64) {
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"M{}\"/>", staircase(&self.steps(height)));
    }

    /// What lies between two heights.
    fn area(&self, svg: &mut String, class: &str, heights: impl Fn(&Point) -> (u64, u64)) {
        let upper = staircase(&self.steps(|point| heights(point).1));
        let mut below = corners(&self.steps(|point| heights(point).0));
        below.reverse();
        let below: Vec<String> = below.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"M{upper}L{}Z\"/>", below.join("L"));
    }
}

/// Over to the next moment, then up or down.
fn staircase(steps: &[(f64, f64)]) -> String {
    let mut path = steps.first().map(|(x, y)| format!("{x:.1} {y:.1}")).unwrap_or_default();
    for (x, y) in steps.iter().skip(1) {
        let _ = write!(path, "H{x:.1}V{y:.1}");
    }
    path
}

/// The same, corner by corner.
fn corners(steps: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let rest = steps.windows(2).flat_map(|pair| [(pair[1].0, pair[0].1), pair[1]]);
    steps.first().copied().into_iter().chain(rest).collect()
}

fn legend(svg: &mut String, limited: bool) {
    let mut names = vec![("ready", "ready"), ("booting", "booting"), ("ending", "ending"), ("wanted", "wanted")];
    if limited {
        names.push(("most", "most allowed"));
    }
    let (mut x, y) = (LEFT + 110.0, POOL.0 - 14.0);
    for (class, name) in names {
        let _ = match class {
            "wanted" | "most" => writeln!(svg, "<path class=\"{class}\" d=\"M{x} {}h24\"/>", y - 4.0),
            _ => writeln!(svg, "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"24\" height=\"11\"/>", y - 10.0),
        };
        text(svg, "", x + 31.0, y, "start", name);
        x += 64.0 + 8.0 * name.len() as f64;
    }
}

/// Numbers and our own words only: nothing in them needs to be escaped.
fn text(svg: &mut String, class: &str, x: f64, y: f64, anchor: &str, words: &str) {
    // writing to a string does not fail
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

/// The next of 1, 2, 5, 10, 20, 50, …
fn nice(least: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            let step = unit.saturating_mul(factor);
            if step >= least {
                return step;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// Milliseconds between two marks on an axis of `span`, in what unit they are written, and its name.
fn time_step(span: u64) -> (u64, u64, &'static str) {
    const UNITS: [(u64, &str, &[u64]); 4] = [
        (1000, "seconds", &[1, 2, 5, 10, 20, 30]),
        (60_000, "minutes", &[1, 2, 5, 10, 20, 30]),
        (3_600_000, "hours", &[1, 2, 3, 6, 12]),
        (86_400_000, "days", &[1, 2, 5, 10, 20, 50, 100]),
    ];
    let mut steps =
        UNITS.iter().flat_map(|(unit, name, factors)| factors.iter().map(move |f| (unit * f, *unit, *name)));
    steps.find(|(step, ..)| span / step <= 12).unwrap_or((span.max(1), 86_400_000, "days"))
}

#[cfg(test)]
mod tests;
