//! What the dashboard's panels show of a run, as SVG: the same rows, the same queries, drawn without Grafana.

use super::files::Panel;
use super::prometheus::Series;
use std::fmt::Write;

const WIDTH: f64 = 1200.0;
const COLUMNS: usize = 3;
const COLUMN: f64 = WIDTH / COLUMNS as f64;
const TALL: f64 = 190.0;
const HEADING: f64 = 34.0;
const TOP: f64 = 60.0;
/// Of a panel's width, what numbers at its left and room at its right take.
const MARGINS: (f64, f64) = (62.0, 20.0);
/// Of its height, what its title and its legend take.
const ABOVE: f64 = 26.0;
const BELOW: f64 = 52.0;
/// Series that have a colour of their own; a legend has no room for more.
const COLOURS: [&str; 7] = ["#2da44e", "#0969da", "#e3a008", "#8250df", "#cf222e", "#1b7c83", "#8c959f"];
const STYLE: &str = "text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#1f2328}\
.title{font-size:17px;font-weight:600}.row{font-size:14px;font-weight:600}.head{font-weight:600}.soft{fill:#59636e}\
.paper{fill:#fff}.axis{fill:none;stroke:#59636e}.grid{stroke:#d1d9e0}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}.paper{fill:#0d1117}.axis{stroke:#9198a1}\
.grid{stroke:#2f353d}}";

/// Draws all panels over time, and rankings as bars; single numbers are in the panels below them.
pub fn of(panels: &[(Panel, Vec<Series>)], start: f64, end: f64) -> String {
    let (mut body, mut row, mut column, mut y) = (String::new(), "", 0, TOP);
    for (panel, series) in panels.iter().filter(|(panel, _)| panel.kind != "stat") {
        if panel.row != row {
            y += if column > 0 { TALL } else { 0.0 };
            (row, column) = (&panel.row, 0);
            text(&mut body, "row", 12.0, y + 20.0, "start", row);
            y += HEADING;
        } else if column == COLUMNS {
            (column, y) = (0, y + TALL);
        }
        let frame = Frame { left: column as f64 * COLUMN + MARGINS.0, top: y + ABOVE, start, end };
        text(&mut body, "head", frame.left, y + 14.0, "start", &panel.title);
        if panel.kind == "bargauge" {
            frame.ranking(&mut body, series);
        } else {
            frame.graph(&mut body, panel, series);
        }
        column += 1;
    }
    let height = y + TALL;
    let title = "The dashboard's panels over a run";
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    text(&mut svg, "title", 12.0, 28.0, "start", "bellows: from upload to answer");
    let about = format!("the dashboard's queries over a run of {:.0} s, each second; times in seconds", end - start);
    text(&mut svg, "soft", 12.0, 48.0, "start", &about);
    svg + &body + "</svg>\n"
}

/// Where one panel is drawn.
struct Frame {
    left: f64,
    top: f64,
    start: f64,
    end: f64,
}

impl Frame {
    fn right(&self) -> f64 {
        self.left - MARGINS.0 + COLUMN - MARGINS.1
    }

    fn bottom(&self) -> f64 {
        self.top - ABOVE + TALL - BELOW
    }

    fn x(&self, at: f64) -> f64 {
        self.left + (self.right() - self.left) * (at - self.start) / (self.end - self.start)
    }

    fn graph(&self, svg: &mut String, panel: &Panel, series: &[Series]) {
        let sums = |at: f64| series.iter().filter_map(|one| value_at(one, at)).sum::<f64>();
        let values = series.iter().flat_map(|one| &one.points).filter(|(_, value)| value.is_finite());
        let most = values.map(|(at, value)| if panel.stacked { sums(*at) } else { *value }).fold(0.0, f64::max);
        let highest = nice(most);
        self.axes(svg, highest, &panel.unit);
        let y = |value: f64| self.bottom() - (self.bottom() - self.top) * value / highest;
        for (n, one) in series.iter().enumerate().take(COLOURS.len()) {
            let below = |at| if panel.stacked { series[..n].iter().filter_map(|s| value_at(s, at)).sum() } else { 0.0 };
            for run in one.points.split(|(_, value)| !value.is_finite()).filter(|run| !run.is_empty()) {
                let line: Vec<_> = run.iter().map(|(at, value)| (self.x(*at), y(below(*at) + value))).collect();
                let colour = COLOURS[n];
                if panel.stacked {
                    let floor = run.iter().rev().map(|(at, _)| (self.x(*at), y(below(*at))));
                    let outline: Vec<_> = line.iter().copied().chain(floor).collect();
                    let _ = writeln!(svg, "<path fill=\"{colour}\" fill-opacity=\".5\" d=\"{}Z\"/>", path(&outline));
                }
                let _ = writeln!(
                    svg,
                    "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" d=\"{}\"/>",
                    path(&line)
                );
            }
        }
        self.legend(svg, series);
    }

    fn axes(&self, svg: &mut String, highest: f64, unit: &str) {
        for part in [0.5, 1.0] {
            let y = self.bottom() - (self.bottom() - self.top) * part;
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{:.0} {y:.1}H{:.0}\"/>", self.left, self.right());
            text(svg, "soft", self.left - 6.0, y + 4.0, "end", &spelled(highest * part, unit));
        }
        text(svg, "soft", self.left - 6.0, self.bottom() + 4.0, "end", "0");
        let axis = format!("M{:.0} {:.1}V{:.1}H{:.0}", self.left, self.top, self.bottom(), self.right());
        let _ = writeln!(svg, "<path class=\"axis\" d=\"{axis}\"/>");
        let span = self.end - self.start;
        let step = nice(span / 6.0);
        for n in 0..=(span / step) as u32 {
            let x = self.x(self.start + f64::from(n) * step);
            let _ = writeln!(svg, "<path class=\"axis\" d=\"M{x:.1} {:.1}v4\"/>", self.bottom());
            text(svg, "soft", x, self.bottom() + 17.0, "middle", &format!("{:.0}", f64::from(n) * step));
        }
    }

    fn legend(&self, svg: &mut String, series: &[Series]) {
        let (mut x, y) = (self.left, self.bottom() + 34.0);
        for (one, colour) in series.iter().zip(COLOURS) {
            let _ =
                writeln!(svg, "<rect fill=\"{colour}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\"/>", y - 9.0);
            text(svg, "", x + 14.0, y, "start", &one.legend);
            x += 26.0 + 6.6 * one.legend.chars().count() as f64;
        }
    }

    /// The newest values, the largest first.
    fn ranking(&self, svg: &mut String, series: &[Series]) {
        let mut newest: Vec<_> =
            series.iter().map(|one| (one.points.last().map_or(0.0, |p| p.1), &one.legend)).collect();
        newest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let most = newest.first().map_or(1.0, |first| first.0);
        for (n, (value, legend)) in newest.iter().take(10).enumerate() {
            let y = self.top + n as f64 * 15.0;
            let wide = (self.right() - self.left) * 0.4 * value / most;
            let bar = format!("x=\"{:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"11\"", self.left);
            let _ = writeln!(svg, "<rect fill=\"{}\" fill-opacity=\".5\" {bar}/>", COLOURS[1]);
            text(svg, "soft", self.left - 6.0, y + 10.0, "end", &spelled(*value, "short"));
            text(svg, "", self.left + 4.0, y + 10.0, "start", legend);
        }
    }
}

fn value_at(series: &Series, at: f64) -> Option<f64> {
    let n = series.points.binary_search_by(|(time, _)| time.total_cmp(&at)).ok()?;
    Some(series.points[n].1).filter(|value| value.is_finite())
}

fn path(points: &[(f64, f64)]) -> String {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    format!("M{}", points.join("L"))
}

/// The next of 1, 2, 5, 10, 20, 50, … times any power of ten.
fn nice(least: f64) -> f64 {
    if least <= 0.0 {
        return 1.0;
    }
    let unit = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * unit);
    steps.into_iter().find(|step| *step >= least * 0.999).unwrap_or(least)
}

fn spelled(value: f64, unit: &str) -> String {
    match unit {
        "s" if value < 1.0 => format!("{} ms", rounded(value * 1e3)),
        "s" => format!("{} s", rounded(value)),
        "bytes" => format!("{} GiB", rounded(value / f64::from(1 << 30))),
        "currencyUSD" => format!("${}", rounded(value)),
        _ => rounded(value),
    }
}

fn rounded(value: f64) -> String {
    let digits = if value >= 10.0 || value.fract() == 0.0 { 0 } else { 2 };
    format!("{value:.digits$}")
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}
