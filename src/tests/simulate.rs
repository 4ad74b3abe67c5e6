//! `bellows simulate`, as people call it.

use crate::support::traces;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

/// With nothing of this machine's configuration.
fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
    command.arg("simulate").args(arguments).env_remove("BELLOWS_CONFIG");
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn json(arguments: &[&str]) -> Vec<Value> {
    let output = simulate(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["runs"].as_array().unwrap().clone()
}

fn table(dir: &Path, rows: &str) -> String {
    let path = dir.join("trace.csv");
    std::fs::write(&path, format!("start_seconds,width_seconds,requests\n{rows}")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The middle one of five.
fn median(runs: &[Value], key: &str) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(|run| run[key].as_f64().unwrap()).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Most instances at once: those of whom `[id, launched, running, terminated]` says that they lived then.
fn most(run: &Value) -> usize {
    let lives = run["instances"].as_array().unwrap();
    let begins = lives.iter().map(|life| life[1].as_f64().unwrap());
    begins
        .map(|at| lives.iter().filter(|l| l[1].as_f64() <= Some(at) && l[3].as_f64().unwrap() > at).count())
        .max()
        .unwrap()
}

#[test]
fn each_run_has_the_figures_and_the_lives_of_its_instances() {
    let runs = json(&["--trace", "burst-150", "--policy", "per-request,deadline", "--seeds", "2"]);
    let heads: Vec<_> =
        runs.iter().map(|run| (run["policy"].as_str().unwrap(), run["seed"].as_u64().unwrap())).collect();
    let expected = [("deadline", 1), ("deadline", 2), ("per-request", 1), ("per-request", 2)];
    assert_eq!(heads, expected, "the configured policy is first");
    let keys = [
        "instance_hours",
        "instances",
        "interrupted",
        "launches",
        "lost",
        "p50_seconds",
        "p99_seconds",
        "policy",
        "seed",
        "trace",
    ];
    for run in &runs {
        let mut found: Vec<&String> = run.as_object().unwrap().keys().collect();
        found.sort();
        assert_eq!(found, keys);
        assert_eq!((&run["trace"], &run["lost"], &run["interrupted"]), (&"burst-150".into(), &0.into(), &0.into()));
        let lives = run["instances"].as_array().unwrap();
        assert_eq!(run["launches"], lives.len());
        let mut billed = 0.0;
        for life in lives {
            let [id, launched, running, terminated] = [0, 1, 2, 3].map(|n| life[n].as_f64().unwrap());
            assert!((1.0..=20.0).contains(&id) && launched + 15.0 <= running && running <= terminated, "{life}");
            billed += (terminated - running).max(60.0);
        }
        assert!((run["instance_hours"].as_f64().unwrap() - billed / 3600.0).abs() < 1e-6);
        assert!(most(run) <= 20);
        // nobody is served before a boot
        assert!(run["p50_seconds"].as_f64().unwrap() > 40.0);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let arguments = ["--trace", "burst-110", "--seeds", "2", "--json", "--jobs"];
    let runs = ["1", "2", "1"].map(|jobs| simulate(&[&arguments[..], &[jobs]].concat()).stdout);
    assert!(!runs[0].is_empty() && runs.iter().all(|run| *run == runs[0]));
}

#[test]
fn what_the_configuration_says_is_what_is_simulated() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("pool.toml");
    std::fs::write(&config, "[pool]\nmax_instances = 3\npolicy = \"per-request\"\nhold = \"0\"\n").unwrap();
    let trace = table(dir.path(), "0,0,12\n");
    let config = ["--config", config.to_str().unwrap(), "--trace", &trace, "--seeds", "1"];
    let run = &json(&config)[0];
    assert_eq!((run["policy"].as_str(), run["trace"].as_str(), most(run)), (Some("per-request"), Some("trace"), 3));
    let run = &json(&[&config[..], &["--max", "5"]].concat())[0];
    assert_eq!(most(run), 5, "a flag is stronger");
    // one machine: a boot of nothing, exact counters, and the policy that is the default there
    let local = ["--set", "backend=local", "--boot", "1s", "--boot-unbilled", "0", "--max", "4", "--trace", &trace];
    let run = &json(&local)[0];
    assert_eq!(run["policy"], "backlog");
    assert!(run["p99_seconds"].as_f64().unwrap() < 15.0, "{run}");
}

/// A worker that pauses is busy: whoever forgets it launches one instance for all of these, and learns better slowly.
#[test]
fn the_pause_after_an_image_is_part_of_its_time() {
    let runs = json(&["--seeds", "1", "--service", "10ms", "--service-cv", "0", "--set", "app.pause=1990ms"]);
    assert_eq!(runs[0]["launches"], 20);
    assert!(runs[0]["p99_seconds"].as_f64() < Some(58.0), "{}", runs[0]["p99_seconds"]);
}

#[test]
fn a_table_that_makes_no_sense_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let trace = table(dir.path(), "0,1,1\n1,1,many\n");
    let output = simulate(&["--trace", &trace]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("trace.csv: line 3: requests = `many`, expected a whole number"), "{said}");
    let output = simulate(&["--trace", "no-such-shape"]);
    assert!(output.status.code() == Some(64) && text(&output).contains("expected burst-110, burst-150"));
    assert_eq!(simulate(&["--policy", "fast"]).status.code(), Some(64));
}

#[test]
fn a_log_is_a_trace_and_a_run_is_a_table_a_line_or_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("access.log");
    let mut file = std::fs::File::create(&log).unwrap();
    for second in 10..40 {
        writeln!(file, "::1 - - [10/Oct/2000:13:55:{second} -0700] \"GET / HTTP/1.0\" 200 1").unwrap();
    }
    writeln!(file, "nonsense").unwrap();
    let (log, svg) = (log.to_str().unwrap(), dir.path().join("run.svg"));
    let output = simulate(&["--from-log", log, "--seeds", "2", "--svg", svg.to_str().unwrap()]);
    let said = text(&output);
    assert!(output.status.success() && said.contains("1 lines without a time are left out"), "{said}");
    assert!(said.contains("2 runs: nothing lost, nothing interrupted, each back to its minimum"), "{said}");
    let drawn = std::fs::read_to_string(svg).unwrap();
    assert!(drawn.starts_with("<svg ") && drawn.contains("30 requests") && drawn.ends_with("</svg>\n"), "{drawn}");
    let csv = String::from_utf8(simulate(&["--from-log", log, "--seeds", "2", "--csv"]).stdout).unwrap();
    let rows: Vec<&str> = csv.lines().collect();
    assert!(rows.len() == 3 && rows[0].starts_with("policy,trace,seed,requests,lost,") && rows[2].contains(",2,30,0,"));
}

#[test]
fn the_default_keeps_within_its_bounds_on_recorded_traffic() {
    let Some(traces) = traces() else { return };
    let file = |name: &str| traces.join(name).to_str().unwrap().to_owned();
    let runs = json(&["--trace", &file("burst-150.csv.gz")]);
    assert_eq!(runs.len(), 5);
    assert!(runs.iter().all(|run| run["launches"] == 20 && most(run) == 20));
    let (hours, p99) = (median(&runs, "instance_hours"), median(&runs, "p99_seconds"));
    assert!(hours <= 0.6 && p99 <= 58.0, "burst-150: {hours} h at {p99} s");
    let runs = json(&["--trace", &file("azure-llm-code.csv.gz")]);
    let (hours, p99) = (median(&runs, "instance_hours"), median(&runs, "p99_seconds"));
    assert!(hours <= 17.0 && p99 <= 48.0, "azure-llm-code: {hours} h at {p99} s");
    assert!(runs.iter().all(|run| most(run) <= 20));
}
