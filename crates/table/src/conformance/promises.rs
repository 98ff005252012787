//! What a table promises, one after the other.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use event::{LogId, Positions};
use futures::future::join_all;

use super::{Bench, Columns, Fault, FaultyStore, Named, P0, P1, fenced, landed, log, positions, range};
use crate::{Layout, schema};

pub(super) async fn all(bench: &Bench<'_>) {
    a_table_that_does_not_exist_is_none(bench).await;
    of_many_creates_one_table_comes(bench).await;
    partitions_begin_once(bench).await;
    commits_form_a_chain(bench).await;
    gaps_and_overlaps_are_refused(bench).await;
    of_two_writers_of_one_range_one_lands(bench).await;
    a_batch_lands_once_however_often_it_is_committed(bench).await;
    partitions_land_beside_each_other(bench).await;
    the_schema_grows_and_keeps_its_types(bench).await;
    writers_that_add_columns_at_once_all_land(bench).await;
    a_commit_without_rows_moves_positions(bench).await;
    another_log_is_seen_and_kept_apart(bench).await;
    a_lost_request_or_answer_is_settled(bench).await;
    a_lost_answer_to_creating_or_beginning_is_settled(bench).await;
    an_outcome_that_stays_unknown_is_settled_by_calling_again(bench).await;
}

async fn a_table_that_does_not_exist_is_none(bench: &Bench<'_>) {
    let table = bench.named();
    assert!(table.handle.load(&log()).await.expect("asking is no error").is_none());
    assert!(table.handle.snapshot(None).await.expect("asking is no error").is_none());
    let begun = table.handle.begin(&log(), &positions(&[(P0, 0)])).await;
    assert_eq!(begun.expect_err("nothing can begin in it").kind(), event::ErrorKind::Data);
}

async fn of_many_creates_one_table_comes(bench: &Bench<'_>) {
    let table = bench.named();
    let variants =
        [Columns::default().and("a", DataType::Utf8), Columns::default().and("b", DataType::Int64)];
    let create = |number: usize| {
        let (handle, schema) = (table.another(), variants[number % 2].schema());
        async move { handle.create(&schema, &log()).await.expect("creating twice is no error").schema }
    };
    let schemas = join_all((0..6).map(create)).await;
    assert!(schemas.iter().all(|schema| *schema == schemas[0]), "all see one table");
    let known = variants.iter().filter(|columns| schema::is_superset(&schemas[0], &columns.schema()));
    assert_eq!(known.count(), 1, "it is one of those that were asked for");
    let state = table.another().load(&log()).await.expect("it can be read").expect("it exists");
    assert_eq!(
        (state.schema, state.positions, state.other_logs),
        (schemas[0].clone(), Positions::new(), vec![])
    );
}

async fn partitions_begin_once(bench: &Bench<'_>) {
    let table = bench.named();
    table.handle.create(&Columns::default().schema(), &log()).await.expect("a table can be created");
    let begin = |start: u64| {
        let handle = table.another();
        async move { handle.begin(&log(), &positions(&[(P0, start)])).await.expect("beginning twice is no error") }
    };
    let states = join_all((5..9).map(begin)).await;
    let first = states[0].positions.get(P0).expect("it has begun");
    assert!((5..9).contains(&first.0) && states.iter().all(|state| state.positions.get(P0) == Some(first)));
    let state = table.handle.begin(&log(), &positions(&[(P0, 77), (P1, 3)])).await.expect("more may begin");
    assert_eq!(state.positions, positions(&[(P0, first.0), (P1, 3)]), "the one that had begun is left alone");
}

async fn commits_form_a_chain(bench: &Bench<'_>) {
    let columns = Columns::default();
    let table = bench.begun(&columns).await;
    let mut version = 0;
    for (start, end) in [(0, 3), (3, 4), (4, 9)] {
        let moved = [(P0, range(start, end)), (P1, range(100 + start, 100 + end))];
        let state =
            landed(table.handle.commit(&table.batch(&columns, &moved).await).await.expect("a commit"));
        assert_eq!(state.positions, positions(&[(P0, end), (P1, 100 + end)]));
        assert!(state.version > version, "versions grow");
        version = state.version;
    }
    let other = table.another();
    assert_eq!(other.load(&log()).await.expect("it can be read").expect("it exists").version, version);
    let snapshot = other.snapshot(None).await.expect("it can be read").expect("it exists");
    assert_eq!((snapshot.version, snapshot.positions), (version, Positions::new()));
    assert!(snapshot.committed_at.is_some());
    table.assert_holds(&[(P0, 9), (P1, 109)]).await;
}

async fn gaps_and_overlaps_are_refused(bench: &Bench<'_>) {
    let columns = Columns::default();
    let table = bench.begun(&columns).await;
    landed(table.handle.commit(&table.batch(&columns, &[(P0, range(0, 5))]).await).await.expect("a commit"));
    let beyond = event::PartitionId(9);
    for wrong in
        [(P0, range(6, 8)), (P0, range(4, 8)), (P0, range(0, 5)), (P0, range(6, 6)), (beyond, range(0, 1))]
    {
        let batch = table.batch(&columns, &[wrong]).await;
        for handle in [&table.handle, &table.another()] {
            let (state, landed, _) = fenced(handle.commit(&batch).await.expect("a refusal is an outcome"));
            assert!(landed.is_empty() && state.positions == positions(&[(P0, 5), (P1, 100)]), "{wrong:?}");
        }
    }
    // One partition is right, the other not: all of it is refused, or only the wrong one.
    let batch = table.batch(&columns, &[(P0, range(6, 8)), (P1, range(100, 102))]).await;
    let (state, landed, _) = fenced(table.handle.commit(&batch).await.expect("a refusal is an outcome"));
    let next = if table.handle.layout() == Layout::ByLogPartition { 102 } else { 100 };
    assert_eq!(state.positions, positions(&[(P0, 5), (P1, next)]));
    assert_eq!(
        landed.iter().collect::<Vec<_>>(),
        if next == 102 { vec![(P1, range(100, 102))] } else { vec![] }
    );
    table.assert_holds(&[(P0, 5), (P1, next)]).await;
}

async fn of_two_writers_of_one_range_one_lands(bench: &Bench<'_>) {
    let columns = Columns::default();
    let table = bench.begun(&columns).await;
    let mut next = 0;
    for round in 0..8 {
        let (longer, shorter) = (next + 4 + round % 2, next + 3);
        let batches = [
            table.batch(&columns, &[(P0, range(next, longer))]).await,
            table.batch(&columns, &[(P0, range(next, shorter))]).await,
        ];
        let handles = [table.another(), table.another()];
        for handle in &handles {
            handle.load(&log()).await.expect("it can be read");
        }
        let outcomes = futures::join!(handles[0].commit(&batches[0]), handles[1].commit(&batches[1]));
        let outcomes = [outcomes.0.expect("an outcome"), outcomes.1.expect("an outcome")];
        let won: Vec<_> =
            (0..2).filter(|i| matches!(outcomes[*i], crate::CommitOutcome::Landed(_))).collect();
        assert_eq!(won.len(), 1, "exactly one lands");
        next = if won[0] == 0 { longer } else { shorter };
        for outcome in outcomes {
            let state = match outcome {
                crate::CommitOutcome::Landed(state) => state,
                crate::CommitOutcome::Fenced { state, landed, .. } => {
                    assert!(landed.is_empty());
                    state
                }
            };
            assert_eq!(state.positions.get(P0), Some(event::Offset(next)), "both know where it goes on");
        }
    }
    table.assert_holds(&[(P0, next), (P1, 100)]).await;
}

async fn a_batch_lands_once_however_often_it_is_committed(bench: &Bench<'_>) {
    let columns = Columns::default();
    let table = bench.begun(&columns).await;
    let batch = table.batch(&columns, &[(P0, range(0, 5)), (P1, range(100, 103))]).await;
    let (one, other) = (table.another(), table.another());
    let both = futures::join!(one.commit(&batch), other.commit(&batch));
    landed(both.0.expect("a commit"));
    landed(both.1.expect("the same commit"));
    let later = table.batch(&columns, &[(P0, range(5, 7))]).await;
    landed(table.handle.commit(&later).await.expect("a commit"));
    for handle in [&table.handle, &table.another()] {
        let state = landed(handle.commit(&batch).await.expect("a commit of long ago"));
        assert_eq!(state.positions, positions(&[(P0, 7), (P1, 103)]));
    }
    table.assert_holds(&[(P0, 7), (P1, 103)]).await;
}

async fn partitions_land_beside_each_other(bench: &Bench<'_>) {
    let columns = Columns::default();
    let table = bench.begun(&columns).await;
    let write = |partition, start: u64| {
        let (table, columns, handle) = (&table, &columns, table.another());
        async move {
            for step in 0..10 {
                let moved = [(partition, range(start + step * 3, start + step * 3 + 3))];
                landed(handle.commit(&table.batch(columns, &moved).await).await.expect("a commit"));
            }
        }
    };
    futures::join!(write(P0, 0), write(P1, 100));
    table.assert_holds(&[(P0, 30), (P1, 130)]).await;
}

async fn the_schema_grows_and_keeps_its_types(bench: &Bench<'_>) {
    let object = |fields: &[&str]| {
        DataType::Struct(fields.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect())
    };
    let first = Columns::default().and("user", object(&["id"]));
    let table = bench.begun(&first).await;
    landed(table.handle.commit(&table.batch(&first, &[(P0, range(0, 2))]).await).await.expect("a commit"));
    let list = DataType::List(Arc::new(Field::new("element", object(&["sku"]), true)));
    let wider = Columns::default().and("user", object(&["age", "id"])).and("items", list);
    let wide = table.batch(&wider, &[(P0, range(2, 4))]).await;
    let state = landed(table.another().commit(&wide).await.expect("new columns are no error"));
    assert!(
        schema::is_superset(&state.schema, &wider.schema())
            && schema::is_superset(&state.schema, &first.schema())
    );
    let narrow = table.batch(&Columns::default(), &[(P0, range(4, 5))]).await;
    let after = landed(table.handle.commit(&narrow).await.expect("a batch may lack columns"));
    assert_eq!(after.schema, state.schema, "no column goes away, none changes");
    let other_type = Columns::default().and("user", DataType::Utf8);
    let conflict = table.batch(&other_type, &[(P0, range(5, 6))]).await;
    let (state, nothing, reason) =
        fenced(table.handle.commit(&conflict).await.expect("a refusal is an outcome"));
    assert!(nothing.is_empty() && reason.contains("user"), "{reason}");
    assert_eq!((state.schema, state.positions.get(P0)), (after.schema.clone(), Some(event::Offset(5))));
    let snapshot = table.another().snapshot(None).await.expect("it can be read").expect("it exists");
    assert_eq!(snapshot.schema, after.schema);
    table.assert_holds(&[(P0, 5), (P1, 100)]).await;
}

async fn writers_that_add_columns_at_once_all_land(bench: &Bench<'_>) {
    let table = bench.begun(&Columns::default()).await;
    let handles = [table.another(), table.another()];
    for handle in &handles {
        handle.load(&log()).await.expect("it can be read");
    }
    let (a, b) = (Columns::default().and("a", DataType::Utf8), Columns::default().and("b", DataType::Int64));
    let batch_a = table.batch(&a, &[(P0, range(0, 2))]).await;
    let batch_b = table.batch(&b, &[(P1, range(100, 102))]).await;
    let both = futures::join!(handles[0].commit(&batch_a), handles[1].commit(&batch_b));
    landed(both.0.expect("a commit"));
    landed(both.1.expect("a commit"));
    let state = table.handle.load(&log()).await.expect("it can be read").expect("it exists");
    assert!(
        schema::is_superset(&state.schema, &a.schema()) && schema::is_superset(&state.schema, &b.schema())
    );
    table.assert_holds(&[(P0, 2), (P1, 102)]).await;
    types_that_disagree_fence_one(&table).await;
}

async fn types_that_disagree_fence_one(table: &Named<'_>) {
    let (text, number) =
        (Columns::default().and("c", DataType::Utf8), Columns::default().and("c", DataType::Int64));
    let batch_text = table.batch(&text, &[(P0, range(2, 4))]).await;
    let batch_number = table.batch(&number, &[(P1, range(102, 104))]).await;
    let (one, other) = (table.another(), table.another());
    let both = futures::join!(one.commit(&batch_text), other.commit(&batch_number));
    let outcomes = [both.0.expect("an outcome"), both.1.expect("an outcome")];
    let won: Vec<_> = outcomes.iter().map(|o| matches!(o, crate::CommitOutcome::Landed(_))).collect();
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "a column has one type");
    let next = if won[0] { [(P0, 4), (P1, 102)] } else { [(P0, 2), (P1, 104)] };
    table.assert_holds(&next).await;
}

async fn a_commit_without_rows_moves_positions(bench: &Bench<'_>) {
    let columns = Columns::default();
    let table = bench.begun(&columns).await;
    let mut empty = table.batch(&columns, &[]).await;
    empty.ranges = [(P0, range(0, 50)), (P1, range(100, 100))].into_iter().collect();
    empty.dead_count = 50;
    let state = landed(table.handle.commit(&empty).await.expect("a commit"));
    assert_eq!(state.positions, positions(&[(P0, 50), (P1, 100)]));
    landed(table.another().commit(&empty).await.expect("the same commit"));
    let (rows, at) = table.read().await;
    assert_eq!((rows, at), (vec![], positions(&[(P0, 50), (P1, 100)])));
    let after = table.batch(&columns, &[(P0, range(50, 52))]).await;
    landed(table.another().commit(&after).await.expect("a commit"));
    assert_eq!(table.read().await.0.len(), 2);
}

async fn another_log_is_seen_and_kept_apart(bench: &Bench<'_>) {
    let columns = Columns::default();
    let table = bench.begun(&columns).await;
    let other = LogId::new("test:log:topic-made-anew");
    for handle in [&table.handle, &table.another()] {
        let state = handle.load(&other).await.expect("it can be read").expect("it exists");
        assert_eq!((state.positions, state.other_logs), (Positions::new(), vec![log()]));
        let begun = handle.begin(&other, &positions(&[(P0, 0)])).await;
        assert_eq!(begun.expect_err("two logs would mix").kind(), event::ErrorKind::Data);
    }
    let state = table.handle.load(&log()).await.expect("it can be read").expect("it exists");
    assert_eq!((state.positions, state.other_logs), (positions(&[(P0, 0), (P1, 100)]), vec![]));
}

async fn a_lost_request_or_answer_is_settled(bench: &Bench<'_>) {
    for fault in [Fault::LostRequest, Fault::LostAnswer, Fault::FalseConflict] {
        let columns = Columns::default();
        let table = bench.begun(&columns).await;
        let wider = columns.and("new", DataType::Utf8);
        let batch = table.batch(&wider, &[(P0, range(0, 5)), (P1, range(100, 102))]).await;
        let store = Arc::new(FaultyStore::new(Arc::clone(bench.lake.store()), fault, 2));
        let state = landed(table.through(store.clone()).commit(&batch).await.expect("it is settled"));
        assert!(store.left() < 2, "{fault:?} struck");
        assert_eq!(state.positions, positions(&[(P0, 5), (P1, 102)]), "{fault:?}");
        landed(table.handle.commit(&batch).await.expect("the same commit"));
        table.assert_holds(&[(P0, 5), (P1, 102)]).await;
        // A file whose put was unsure is there once, too.
        let store = Arc::new(FaultyStore::new(Arc::clone(bench.lake.store()), fault, 1));
        let through = Named { bench, name: table.name.clone(), handle: table.through(store.clone()) };
        let batch = through.batch(&columns, &[(P0, range(5, 6))]).await;
        landed(through.handle.commit(&batch).await.expect("it is settled"));
        assert_eq!(store.left(), 0, "{fault:?} struck");
        table.assert_holds(&[(P0, 6), (P1, 102)]).await;
    }
}

async fn a_lost_answer_to_creating_or_beginning_is_settled(bench: &Bench<'_>) {
    for fault in [Fault::LostRequest, Fault::LostAnswer, Fault::FalseConflict] {
        let columns = Columns::default();
        let table = bench.named();
        let faulty = || table.through(Arc::new(FaultyStore::new(Arc::clone(bench.lake.store()), fault, 1)));
        faulty().create(&columns.schema(), &log()).await.expect("it is settled");
        let starts = positions(&[(P0, 0), (P1, 100)]);
        let state = faulty().begin(&log(), &starts).await.expect("it is settled");
        assert_eq!(state.positions, starts, "{fault:?}");
        table.assert_holds(&[(P0, 0), (P1, 100)]).await;
    }
}

async fn an_outcome_that_stays_unknown_is_settled_by_calling_again(bench: &Bench<'_>) {
    let columns = Columns::default();
    let table = bench.begun(&columns).await;
    let batch = table.batch(&columns, &[(P0, range(0, 5))]).await;
    let store = FaultyStore::new(Arc::clone(bench.lake.store()), Fault::LostRequest, usize::MAX);
    let unknown = table.through(Arc::new(store)).commit(&batch).await;
    assert_eq!(unknown.expect_err("nothing got through").kind(), event::ErrorKind::Unavailable);
    table.assert_holds(&[(P0, 0), (P1, 100)]).await;
    landed(table.handle.commit(&batch).await.expect("now it gets through"));
    table.assert_holds(&[(P0, 5), (P1, 100)]).await;
}
