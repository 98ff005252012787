//! The metrics say what happened.

use axum::http::Request;
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::support::{Fixture, Mode, unavailable};

#[test]
fn metrics_count_requests_events_and_bytes() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // One thread, so that the recorder of this test sees this test only.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let fixture = Fixture::new();
            fixture.post("{}\n1\n{}\nbroken\n").await.accepted();
            fixture.post("[1,2]").await.assert_error(400, "not_an_object");
            fixture.send(Request::post("/events/none").body("{}".into()).unwrap()).await;
            fixture.log.set(Mode::Fail(unavailable));
            fixture.post("{}").await.assert_error(503, "log_unavailable");
        });
    });
    let text = handle.render();
    for line in [
        "laker_collector_requests_total{code=\"200\"} 1",
        "laker_collector_requests_total{code=\"400\"} 1",
        "laker_collector_requests_total{code=\"404\"} 1",
        "laker_collector_requests_total{code=\"503\"} 1",
        "laker_collector_events_accepted_total{stream=\"logs\"} 2",
        "laker_collector_events_rejected_total{code=\"not_an_object\"} 3",
        "laker_collector_events_rejected_total{code=\"invalid_json\"} 1",
        "laker_collector_body_bytes_total 22",
        "laker_collector_append_seconds_count 2",
        "laker_collector_in_flight_bytes 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}
