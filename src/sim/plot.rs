//! A run over time, as SVG: what came, what waited, the pool, and how long answers took. Pure.

use super::run::{Look, Outcome};
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 928.0;
const FIRST: f64 = 96.0;
const HIGH: f64 = 120.0;
const GAP: f64 = 44.0;
/// Points in the picture: more than it has room for show nothing more.
const POINTS: usize = 800;

const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#1f2328}
.title{font-size:17px;font-weight:600}.soft{fill:#59636e}.head{font-weight:600}
.paper{fill:#fff}.grid{stroke:#d1d9e0}.axis{stroke:#59636e}
.came{fill:#0969da;fill-opacity:.3;stroke:#0969da}.open{fill:#8250df;fill-opacity:.25;stroke:#8250df}
.ready{fill:#2da44e}.booting{fill:#e3a008}.ending{fill:#8c959f}
.wanted{fill:none;stroke:#1f2328;stroke-width:1.5}.slow{fill:#cf222e;fill-opacity:.25;stroke:#cf222e}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}.paper{fill:#0d1117}.grid{stroke:#2f353d}
.axis{stroke:#9198a1}.wanted{stroke:#f0f6fc}}
";

/// Draws a run.
pub fn svg(outcome: &Outcome, p99_seconds: f64) -> String {
    let looks = thin(&outcome.looks);
    let height = FIRST + 4.0 * (HIGH + GAP) + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Arrivals, queue, pool and latency over time</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    let title = format!("{} on {}, seed {}", outcome.policy, escape(&outcome.trace), outcome.seed);
    text(&mut svg, "title", LEFT, 32.0, "start", &title);
    let figures = format!(
        "{} requests · {:.2} instance-hours · {} launches · p99 {p99_seconds:.1} s",
        outcome.requests,
        outcome.instance_hours,
        outcome.lives.len()
    );
    text(&mut svg, "soft", LEFT, 54.0, "start", &figures);
    let end = looks.last().map_or(1.0, |look| look.at).max(1.0);
    let mut panels = (0..4).map(|n| FIRST + f64::from(n) * (HIGH + GAP));
    let mut panel = |svg: &mut String, heading: &str, highest: f64| {
        let top = panels.next().unwrap_or(FIRST);
        text(svg, "head", LEFT, top - 10.0, "start", heading);
        let panel = Panel { looks: &looks, end, top, highest: nice(highest.max(1.0)) };
        panel.axes(svg);
        panel
    };
    let most = |value: &dyn Fn(&Look) -> f64| looks.iter().map(value).fold(0.0, f64::max);
    let rates: Vec<f64> = rates(&looks);
    let came = panel(&mut svg, "requests a second", rates.iter().copied().fold(0.0, f64::max));
    came.area(&mut svg, "came", |n| (0.0, rates[n]));
    let open = panel(&mut svg, "requests without an answer", most(&|look| look.open as f64));
    open.area(&mut svg, "open", |n| (0.0, looks[n].open as f64));
    let [ready, booting, ending] = pool(&looks);
    let highest = most(&|look| f64::from(look.wanted)).max(ending.iter().copied().fold(0.0, f64::max));
    let heading = "instances: serving (green), booting (yellow), draining (grey); line: wanted";
    let instances = panel(&mut svg, heading, highest);
    instances.area(&mut svg, "ending", |n| (booting[n], ending[n]));
    instances.area(&mut svg, "booting", |n| (ready[n], booting[n]));
    instances.area(&mut svg, "ready", |n| (0.0, ready[n]));
    instances.line(&mut svg, "wanted", |n| f64::from(looks[n].wanted));
    let slow = panel(&mut svg, "slowest answer, in seconds", most(&|look| look.slowest));
    slow.area(&mut svg, "slow", |n| (0.0, looks[n].slowest));
    slow.times(&mut svg);
    svg.push_str("</svg>\n");
    svg
}

/// Fewer looks: of several the largest values, so that no peak is lost.
fn thin(looks: &[Look]) -> Vec<Look> {
    let each = looks.len().div_ceil(POINTS).max(1);
    let merge = |part: &[Look]| {
        part.iter().skip(1).fold(part[0], |sum, look| Look {
            at: look.at,
            arrived: sum.arrived + look.arrived,
            open: sum.open.max(look.open),
            oldest: sum.oldest.max(look.oldest),
            wanted: sum.wanted.max(look.wanted),
            booting: sum.booting.max(look.booting),
            ready: sum.ready.max(look.ready),
            ending: sum.ending.max(look.ending),
            slowest: sum.slowest.max(look.slowest),
        })
    };
    looks.chunks(each).map(merge).collect()
}

fn rates(looks: &[Look]) -> Vec<f64> {
    let starts = std::iter::once(0.0).chain(looks.iter().map(|look| look.at));
    looks.iter().zip(starts).map(|(look, start)| look.arrived as f64 / (look.at - start).max(1e-3)).collect()
}

/// Heights of the three layers.
fn pool(looks: &[Look]) -> [Vec<f64>; 3] {
    let height = |sum: &dyn Fn(&Look) -> u32| looks.iter().map(|look| f64::from(sum(look))).collect();
    [
        height(&|look| look.ready),
        height(&|look| look.ready + look.booting),
        height(&|look| look.ready + look.booting + look.ending),
    ]
}

struct Panel<'a> {
    looks: &'a [Look],
    end: f64,
    top: f64,
    highest: f64,
}

impl Panel<'_> {
    fn x(&self, at: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * at / self.end
    }

    fn y(&self, value: f64) -> f64 {
        self.top + HIGH * (1.0 - value / self.highest)
    }

    fn axes(&self, svg: &mut String) {
        for part in [0.0, 0.5, 1.0] {
            let (value, class) = (self.highest * part, if part == 0.0 { "axis" } else { "grid" });
            let y = self.y(value);
            let _ = writeln!(svg, "<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
            text(svg, "soft", LEFT - 8.0, y + 4.0, "end", &value.to_string());
        }
    }

    /// The axis of time.
    fn times(&self, svg: &mut String) {
        let units = [(86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s")];
        let (unit, name) = units.into_iter().find(|(unit, _)| self.end / unit >= 3.0).unwrap_or((1.0, "s"));
        let step = nice(self.end / unit / 10.0).max(1.0);
        for n in 0..=(self.end / unit / step) as u32 {
            let at = f64::from(n) * step;
            text(svg, "soft", self.x(at * unit), self.top + HIGH + 20.0, "middle", &format!("{at} {name}"));
        }
    }

    fn line(&self, svg: &mut String, class: &str, value: impl Fn(usize) -> f64) {
        let points = (0..self.looks.len()).map(|n| self.point(n, value(n)));
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"M{}\"/>", points.collect::<Vec<_>>().join("L"));
    }

    fn area(&self, svg: &mut String, class: &str, values: impl Fn(usize) -> (f64, f64)) {
        let upper = (0..self.looks.len()).map(|n| self.point(n, values(n).1));
        let lower = (0..self.looks.len()).rev().map(|n| self.point(n, values(n).0));
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"M{}Z\"/>", upper.chain(lower).collect::<Vec<_>>().join("L"));
    }

    fn point(&self, n: usize, value: f64) -> String {
        format!("{:.1} {:.1}", self.x(self.looks[n].at), self.y(value.min(self.highest)))
    }
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, anchor: &str, words: &str) {
    // writing to a string does not fail
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

/// A trace is called as its file is.
fn escape(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;")
}

/// The next of 1, 2, 5, 10, 20, 50, …
fn nice(least: f64) -> f64 {
    let unit = libm::pow(10.0, libm::floor(libm::log10(least.max(1e-9))));
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * unit).find(|step| *step >= least).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peak_is_lost_where_looks_are_put_together() {
        let look = |n: usize| Look { at: n as f64, arrived: 1, open: u64::from(n == 777), ..Look::default() };
        let looks: Vec<Look> = (1..=2000).map(look).collect();
        let thin = thin(&looks);
        assert!(thin.len() <= POINTS);
        assert_eq!(thin.iter().map(|look| look.arrived).sum::<u64>(), 2000);
        assert_eq!((thin.iter().map(|look| look.open).max(), thin.last().map(|look| look.at)), (Some(1), Some(2000.0)));
    }

    #[test]
    fn scales_end_at_round_numbers() {
        for (most, above) in [(1.0, 1.0), (3.0, 5.0), (17.0, 20.0), (21.0, 50.0), (150.0, 200.0)] {
            assert!((nice(most) - above).abs() < 1e-9, "{most}: {}", nice(most));
        }
    }
}
