use super::*;
use bellows_core::ledger::Happened;
use bellows_core::scale::{Actions, Inputs};

/// A decision at a second: what waits, who is ready and booting, what is wanted.
fn decided(second: u64, demand: u64, ready: u32, booting: u32, wanted: u32) -> Entry {
    let inputs = Inputs { ready, booting, max: 20, hold_ms: 1500, ..Inputs::default() };
    let none = Actions::default();
    let decided = Decided {
        demand,
        need: demand,
        wanted,
        active: 0,
        rule: Rule::PerRequest,
        clamp: None,
        done: none,
        missed: none,
        withheld: none,
        inputs,
    };
    entry(second, What::Decided(decided))
}

fn entry(second: u64, what: What) -> Entry {
    let at = Timestamp(1_709_208_000_000 + second * 1000);
    Entry { seq: second, at, until: at, repeats: 0, what }
}

/// A burst of 150: quiet for an hour, twenty processes for half a minute, quiet again.
fn burst() -> Vec<Entry> {
    vec![
        entry(0, What::Happened(Happened::Resumed)),
        decided(0, 0, 0, 0, 0),
        decided(3600, 150, 0, 0, 20),
        decided(3601, 140, 5, 15, 20),
        decided(3602, 130, 20, 0, 20),
        decided(3620, 10, 20, 0, 10),
        decided(3630, 0, 2, 0, 0),
        decided(3632, 0, 0, 0, 0),
        entry(9000, What::Happened(Happened::Resumed)),
        decided(9001, 0, 0, 0, 0),
    ]
}

#[test]
fn the_quiet_before_and_after_is_left_out() {
    let points: Vec<Point> = burst()
        .iter()
        .filter_map(|e| match &e.what {
            What::Decided(decided) => Some(Point::of(e.at, decided)),
            What::Happened(_) => None,
        })
        .collect();
    let second = |at: u64| (at - 1_709_208_000_000) as f64 / 1000.0;
    let (shown, end) = without_quiet(&points, points[7].at);
    assert_eq!(shown.len(), 7);
    assert_eq!((second(shown[0].at), second(shown[1].at), second(end)), (3598.4, 3600.0, 3633.6));
    let (quiet, end) = without_quiet(&points[..1], points[0].at);
    assert_eq!((quiet.len(), second(end)), (1, 0.001));
    let (still_on, end) = without_quiet(&points[1..3], points[2].at + 60_000);
    assert_eq!((still_on.len(), second(end)), (2, 3661.0));
}

#[test]
fn a_burst_is_drawn_with_its_policy_and_its_axes() {
    let svg = of(&burst()).unwrap();
    for part in [
        "Queue and pool, 2024-02-29<",
        "pool.policy per-request · pool.min_instances 0 · pool.max_instances 20 · pool.hold 1.5s",
        ">150</text>",
        ">20</text>",
        ">seconds since 12:59:58 UTC</text>",
        "class=\"most\" d=\"M64 328.0H928\"",
        "prefers-color-scheme:dark",
    ] {
        assert!(svg.contains(part), "{part} is not in {svg}");
    }
    let open = svg.matches('<').count() - svg.matches("</").count() - svg.matches("/>").count();
    assert_eq!(open, svg.matches("</").count(), "every element is closed");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn any_ledger_can_be_drawn() {
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[entry(1, What::Happened(Happened::Resumed))]), None);
    let back_in_time = [decided(50, 3, 1, 0, 1), decided(10, 3, 1, 0, 1)];
    let huge = [decided(0, u64::MAX, 0, 0, u32::MAX), decided(1, 0, u32::MAX, u32::MAX, 0)];
    for entries in [&[decided(7, 0, 0, 0, 0)][..], &[decided(7, 1, 0, 0, 0)], &back_in_time, &huge] {
        let svg = of(entries).unwrap();
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && svg.len() < 20_000, "{svg}");
    }
}

#[test]
fn marks_stand_at_round_numbers() {
    assert_eq!([1, 2, 3, 5, 6, 38, 51, 1000].map(nice), [1, 2, 5, 5, 10, 50, 100, 1000]);
    assert_eq!(time_step(34_000), (5_000, 1000, "seconds"));
    assert_eq!(time_step(1), (1_000, 1000, "seconds"));
    assert_eq!(time_step(3_600_000).2, "minutes");
    assert_eq!(time_step(6 * 3_600_000), (3_600_000 / 2, 60_000, "minutes"));
    assert_eq!(time_step(36 * 3_600_000).2, "hours");
    assert_eq!(time_step(u64::MAX).2, "days");
}
