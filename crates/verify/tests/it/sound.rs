use std::sync::Arc;

use eventlog::EventLog;
use verify::{PartitionReport, VerifyError};

use crate::world::{BOTH, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_table_is_proven_to_the_last_record() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let report = world.verify().await;
        assert!(report.proven, "{format:?}: {report:#?}");
        let partition = PartitionReport {
            partition: 0,
            first: 0,
            next: 9,
            commits: 3,
            rows: 7,
            dead: 2,
            gaps: vec![],
            compared: Some([0, 9]),
        };
        assert_eq!(report.partitions, [partition], "{format:?}");
        assert_eq!((report.log.records, report.log.not_compared), (9, None), "{format:?}");
        assert_eq!(report.files.count, report.files.with_checksum, "{format:?}: every file has a checksum");
        assert!(report.notes.is_empty(), "{format:?}: {:?}", report.notes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_proven_without_its_log_as_far_as_that_goes() {
    for format in BOTH {
        let report = World::loaded(format).await.verify_alone().await;
        assert!(report.proven, "{format:?}: {report:#?}");
        assert_eq!(report.log.not_compared.as_deref(), Some("not in this test"));
        assert_eq!(report.partitions[0].compared, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_another_is_not_compared_with() {
    for format in BOTH {
        let (world, other) = (World::loaded(format).await, World::loaded(format).await);
        let log: Result<(Arc<dyn EventLog>, String), String> =
            Ok((Arc::clone(&other.log), "logs".to_owned()));
        let report = verify::Subject { log, ..world.subject() }.verify(&()).await.unwrap();
        assert!(report.proven);
        assert!(report.log.not_compared.unwrap().contains("filled from another log"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loader_that_goes_on_meanwhile_does_not_disturb() {
    for format in BOTH {
        let world = World::loaded(format).await;
        let subject = world.subject();
        for round in 0..5 {
            world.append(&[&format!(r#"{{"n":"more{round}"}}"#), "{no"]).await;
            let (report, ()) = futures::join!(subject.verify(&()), world.catch_up());
            let report = report.unwrap();
            assert!(report.proven, "{format:?}: {report:#?}");
        }
        assert_eq!(world.verify().await.partitions[0].next, 19);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_table_is_no_proof() {
    for format in BOTH {
        let refused = World::new(format).await.subject().verify(&()).await.unwrap_err();
        assert!(matches!(refused, VerifyError::NoTable { .. }), "{refused}");
    }
}
