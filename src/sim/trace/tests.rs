use super::*;

fn wrong(table: &str) -> String {
    parse(table.as_bytes()).unwrap_err()
}

#[test]
fn what_is_wrong_with_a_table_is_told_with_its_line() {
    let header = HEADER.join(",");
    assert!(wrong("a,b,c\n").starts_with("line 1: expected the columns start_seconds"));
    assert!(wrong(&format!("{header}\n0,1,1\n1,x,1\n")).starts_with("line 3: width_seconds = `x`, expected seconds"));
    assert!(wrong(&format!("{header}\n0,1,1\n1,1,-1\n")).starts_with("line 3: requests = `-1`"));
    assert!(wrong(&format!("{header}\n\n5,1,1\n1,1,1\n")).starts_with("line 4: start_seconds = `1`, expected no less"));
    assert!(wrong(&format!("{header}\n0,1\n")).starts_with("line 2: "));
    assert!(wrong(&format!("{header}\ninf,0,1\n")).starts_with("line 2: start_seconds"));
    assert_eq!(wrong(&header), "no requests in it");
}

#[test]
fn arrivals_come_in_order_and_within_their_bins() {
    let table = "start_seconds,width_seconds,requests\n0,10,5\n2,1,3\n2,0,2\n20.5,0,1\n";
    let trace = Trace { name: String::new(), bins: parse(table.as_bytes()).unwrap() };
    assert_eq!((trace.requests(), trace.span().as_secs_f64()), (11, 20.5));
    let arrivals: Vec<f64> = trace.arrivals(3).map(|at| at.as_secs_f64()).collect();
    assert_eq!(arrivals.len(), 11);
    assert!(arrivals.is_sorted(), "{arrivals:?}");
    assert!(arrivals.iter().filter(|at| (2.0..3.0).contains(*at)).count() >= 5, "{arrivals:?}");
    assert_eq!(arrivals.last(), Some(&20.5));
    assert!(trace.arrivals(3).eq(trace.arrivals(3)) && trace.arrivals(3).ne(trace.arrivals(4)));
}

#[test]
fn a_log_is_read_by_its_seconds_and_in_its_zone() {
    let line = "127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 2326";
    assert_eq!(logged(line), Some(971_211_336));
    assert_eq!(logged("[10/Oct/2000:22:55:36 +0200]"), Some(971_211_336));
    for line in ["", "[", "[10/Oct/2000]", "[99/Foo/2000:13:55:36 -0700]", "[10/Oct/2000:1:2:3 ä]"] {
        assert_eq!(logged(line), None, "{line}");
    }
}

#[test]
fn every_shape_has_requests_in_order() {
    for (name, _) in SHAPES {
        let trace = Trace::shape(name).unwrap();
        assert!(trace.requests() >= 100, "{name}: {}", trace.requests());
        assert!(trace.bins.is_sorted_by_key(|bin| bin.start), "{name}");
        assert_eq!(trace.arrivals(1).count() as u64, trace.requests(), "{name}");
    }
    assert_eq!(Trace::shape("burst-110").unwrap().requests(), 110);
    assert_eq!(Trace::shape("nothing"), None);
}
