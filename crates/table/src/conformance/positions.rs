//! What a table promises of positions beyond the offset: epochs and gaps.

use event::{ErrorKind, LeaderEpoch};

use super::{Bench, Columns, P0, P1, fenced, landed, log, positions, range};
use crate::Commit;

pub(super) async fn all(bench: &Bench<'_>) {
    a_position_keeps_the_leader_epoch_at_its_end(bench).await;
    a_gap_moves_positions_without_rows(bench).await;
    a_gap_lands_only_where_the_chain_ends(bench).await;
    a_gap_with_records_is_refused(bench).await;
}

async fn a_position_keeps_the_leader_epoch_at_its_end(bench: &Bench<'_>) {
    let columns = Columns::default();
    let table = bench.begun(&columns).await;
    let epochs = |state: &crate::TableState| (state.positions.epoch(P0), state.positions.epoch(P1));
    let begun = table.another().load(&log()).await.expect("it can be read").expect("it exists");
    assert_eq!(epochs(&begun), (None, None), "nothing has landed, so nothing is known");
    let (three, five) = (Some(LeaderEpoch(3)), Some(LeaderEpoch(5)));
    for (moved, known) in [
        (vec![(P0, range(0, 4).written_under(three))], (three, None)),
        (vec![(P0, range(4, 9).written_under(five)), (P1, range(100, 101))], (five, None)),
        (vec![(P1, range(101, 105).written_under(Some(LeaderEpoch(0))))], (five, Some(LeaderEpoch(0)))),
    ] {
        let state =
            landed(table.handle.commit(&table.batch(&columns, &moved).await).await.expect("a commit"));
        assert_eq!(epochs(&state), known, "{moved:?}");
        let read = table.another().load(&log()).await.expect("it can be read").expect("it exists");
        assert_eq!(epochs(&read), known, "as another process reads it, after {moved:?}");
    }
    table.assert_holds(&[(P0, 9), (P1, 105)]).await;
}

async fn a_gap_moves_positions_without_rows(bench: &Bench<'_>) {
    let columns = Columns::default();
    let table = bench.begun(&columns).await;
    landed(table.handle.commit(&table.batch(&columns, &[(P0, range(0, 2))]).await).await.expect("a commit"));
    let ranges = super::ranges(&[(P0, range(2, 50)), (P1, range(100, 107))]);
    let gap = Commit::of_gap(bench.clock.new_id(), log(), ranges, columns.schema());
    for handle in [&table.handle, &table.another()] {
        let state = landed(handle.commit(&gap).await.expect("also when it is asked for twice"));
        assert_eq!(state.positions, positions(&[(P0, 50), (P1, 107)]));
    }
    let (rows, at) = table.read().await;
    assert_eq!((rows.len(), at), (2, positions(&[(P0, 50), (P1, 107)])));
    let after = table.batch(&columns, &[(P0, range(50, 52)), (P1, range(107, 108))]).await;
    landed(table.another().commit(&after).await.expect("the chain goes on behind it"));
    assert_eq!(table.read().await.0.len(), 5);
}

async fn a_gap_lands_only_where_the_chain_ends(bench: &Bench<'_>) {
    let columns = Columns::default();
    let table = bench.begun(&columns).await;
    landed(table.handle.commit(&table.batch(&columns, &[(P0, range(0, 5))]).await).await.expect("a commit"));
    for wrong in [range(4, 9), range(6, 9)] {
        let ranges = super::ranges(&[(P0, wrong)]);
        let gap = Commit::of_gap(bench.clock.new_id(), log(), ranges, columns.schema());
        let (state, landed, _) = fenced(table.handle.commit(&gap).await.expect("a refusal is an outcome"));
        assert!(landed.is_empty() && state.positions == positions(&[(P0, 5), (P1, 100)]), "{wrong}");
    }
    table.assert_holds(&[(P0, 5), (P1, 100)]).await;
}

async fn a_gap_with_records_is_refused(bench: &Bench<'_>) {
    let columns = Columns::default();
    let table = bench.begun(&columns).await;
    let with_rows = Commit { gap: true, ..table.batch(&columns, &[(P0, range(0, 5))]).await };
    let counted = Commit { files: Vec::new(), row_count: 0, dead_count: 1, ..with_rows.clone() };
    for faulty in [with_rows, counted] {
        let refused = table.handle.commit(&faulty).await.expect_err("a gap has no records");
        assert_eq!(refused.kind(), ErrorKind::Data, "{refused}");
    }
    table.assert_holds(&[(P0, 0), (P1, 100)]).await;
}
