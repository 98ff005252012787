//! Which columns follow from a flush.

use decode::{ColumnType, DecodeOptions, Discovered, Reason};

use crate::table::{Table, check, records};

#[track_caller]
fn columns_of(events: &[&str], wanted: &str) -> Table {
    let table = Table::of(events);
    assert_eq!(table.columns(), wanted, "of {events:?}");
    table
}

#[test]
fn types_follow_from_the_first_flush() {
    columns_of(
        &[r#"{"s":"x","l":1,"d":0.5,"b":true,"o":{"x":1},"a":["x"],"ao":[{"y":1}],"aa":[[1]]}"#],
        "s string, l long, d double, b boolean, o struct<x long>, a list<string>, ao list<struct<y long>>, aa list<list<long>>",
    );
}

#[test]
fn long_or_double_is_decided_over_the_whole_first_flush() {
    let mut table = Table::of(&[]);
    table.flush(&[&[r#"{"n":1}"#], &[r#"{"n":2.5}"#], &[r#"{"n":9007199254740993}"#]]);
    assert_eq!(table.columns(), "n double");
    let rows: Vec<_> =
        table.batches.iter().map(|batch| crate::oracle::show(&crate::oracle::row(batch, 0, true))).collect();
    assert_eq!(rows, [r#"{"n":1.0}"#, r#"{"n":2.5}"#, "{}"]);
    assert_eq!(crate::oracle::residual(&table.batches[2], 0), Some(r#"{"n":9007199254740993}"#));
    columns_of(&[r#"{"n":1}"#, r#"{"n":2}"#], "n long");
    columns_of(&[r#"{"a":[1,2]}"#, r#"{"a":[3,0.5]}"#], "a list<double>");
}

#[test]
fn a_fraction_in_a_later_flush_does_not_retype() {
    let mut table = Table::of(&[r#"{"n":1}"#]);
    assert_eq!(table.land(r#"{"n":2.5}"#).1.unwrap(), r#"{"n":2.5}"#);
    assert_eq!(table.columns(), "n long");
}

#[test]
fn integers_beyond_64_bits_decide_nothing() {
    columns_of(&[r#"{"n":18446744073709551616}"#], "");
    columns_of(&[r#"{"n":18446744073709551616}"#, r#"{"n":1}"#], "n long");
    columns_of(&[r#"{"n":-0}"#, r#"{"n":1}"#], "n long");
}

#[test]
fn of_several_kinds_the_one_seen_most_often_wins() {
    let table = columns_of(&[r#"{"f":"x"}"#, r#"{"f":1}"#, r#"{"f":2}"#], "f long");
    assert_eq!(table.conflict("f", Reason::WrongType), 1);
    columns_of(&[r#"{"f":1}"#, r#"{"f":"x"}"#], "f string");
    columns_of(&[r#"{"f":[1]}"#, r#"{"f":{"x":1}}"#, r#"{"f":true}"#, r#"{"f":0.5}"#], "f double");
    columns_of(&[r#"{"f":[1,2,3]}"#, r#"{"f":["x"]}"#, r#"{"f":["y"]}"#], "f list<string>");
    columns_of(&[r#"{"f":{}}"#, r#"{"f":[]}"#, r#"{"f":{"a":null}}"#, r#"{"f":1}"#], "f long");
}

#[test]
fn null_empty_arrays_and_empty_objects_make_no_column() {
    let event = r#"{"n":null,"a":[],"an":[null],"o":{},"on":{"x":null},"aa":[[]],"ao":[{}]}"#;
    let table =
        check(&[], event, "{}", Some(r#"{"a":[],"an":[null],"o":{},"on":{"x":null},"aa":[[]],"ao":[{}]}"#));
    assert_eq!(table.columns(), "");
    assert_eq!(table.conflict("a", Reason::EmptyArray), 1);
}

#[test]
fn an_empty_array_fits_once_there_is_a_column() {
    let mut table = Table::of(&[]);
    assert_eq!(table.land(r#"{"a":[]}"#).1.unwrap(), r#"{"a":[]}"#);
    assert_eq!(table.land(r#"{"a":["x"]}"#), (r#"{"a":["x"]}"#.to_owned(), None));
    assert_eq!(table.land(r#"{"a":[]}"#), (r#"{"a":[]}"#.to_owned(), None));
}

#[test]
fn a_new_field_adds_a_column_at_every_level() {
    let mut table = Table::of(&[r#"{"a":1,"o":{"x":{"y":1}},"l":[{"p":1}]}"#]);
    table.land(r#"{"b":"n","o":{"x":{"z":2},"w":3},"l":[{"p":2,"q":["r"]}]}"#);
    assert_eq!(
        table.columns(),
        "a long, o struct<x struct<y long, z long>, w long>, l list<struct<p long, q list<string>>>, b string"
    );
    assert_eq!(
        table.land(r#"{"b":"n","o":{"x":{"z":2},"w":3},"l":[{"p":2,"q":["r"]}]}"#),
        (r#"{"b":"n","l":[{"p":2,"q":["r"]}],"o":{"w":3,"x":{"z":2}}}"#.to_owned(), None)
    );
}

#[test]
fn a_field_that_could_never_fit_in_its_array_makes_no_column() {
    let mut table = Table::of(&[r#"{"l":[{"p":1}]}"#]);
    table.land(r#"{"l":[{"p":"no","q":1}]}"#);
    table.land(r#"{"l":[{"q":1},{"q":"x"}]}"#);
    table.land(r#"{"l":[{"q":1},{"Q":1}]}"#);
    assert_eq!(table.columns(), "l list<struct<p long>>");
}

#[test]
fn of_new_names_that_differ_only_by_case_the_first_wins() {
    let mut table = Table::of(&[]);
    table.flush(&[&[r#"{"x":1}"#], &[r#"{"Name":"a"}"#, r#"{"name":"b"}"#, r#"{"name":"c","NAME":"d"}"#]]);
    assert_eq!(table.columns(), "x long, Name string");
    assert_eq!(table.conflict("name", Reason::NameCase), 2);
}

#[test]
fn new_columns_stand_in_the_order_of_their_fields() {
    columns_of(
        &[r#"{"zebra":1,"apple":{"z":1,"a":2}}"#, r#"{"mid":1,"zebra":1}"#],
        "zebra long, apple struct<z long, a long>, mid long",
    );
}

#[test]
fn when_there_is_no_room_for_all_the_fields_seen_most_often_get_in() {
    let options = DecodeOptions { columns_max: 2, ..DecodeOptions::default() };
    let table = Table::new(options).with(&[
        r#"{"u1":1,"act":"a"}"#,
        r#"{"u2":1,"act":"a"}"#,
        r#"{"u3":1,"act":"b"}"#,
    ]);
    assert_eq!(table.columns(), "u1 long, act string");
}

#[test]
fn a_map_keyed_by_user_cannot_explode_the_table() {
    let options = DecodeOptions { columns_max: 50, ..DecodeOptions::default() };
    let mut table = Table::new(options);
    for flush in 0..3 {
        let events: Vec<_> =
            (0..100).map(|user| format!(r#"{{"action":"buy","by_user":{{"u{flush}_{user}":1}}}}"#)).collect();
        table.flush(&[&events]);
    }
    assert_eq!(table.columns().matches("long").count(), 49);
    assert_eq!(table.conflict("by_user.u2_99", Reason::ColumnsMax), 1);
}

#[test]
fn five_thousand_keys_in_one_event_fill_the_table_up_to_its_most() {
    let members: Vec<_> = (0..5_000).map(|number| format!(r#""k{number}":{number}"#)).collect();
    let event = format!("{{{}}}", members.join(","));
    let mut table = Table::of(&[]);
    table.land(&event);
    assert_eq!(table.columns().matches("long").count(), 1_000);
    assert_eq!(table.conflicts.iter().map(|(_, _, count)| count).sum::<u64>(), 4_000);
}

#[test]
fn more_names_than_can_be_told_apart_lose_nothing() {
    let mut table = Table::of(&[]);
    let events: Vec<_> = (0..30_000).map(|number| format!(r#"{{"n{number}":{number}}}"#)).collect();
    table.flush(&[&events[..15_000], &events[15_000..]]);
    for (at, event) in events.iter().enumerate() {
        crate::oracle::uphold(event, &table.batches[at / 15_000], at % 15_000, true);
    }
    assert_eq!(table.columns().matches("long").count(), 1_000);
}

#[test]
fn a_type_by_hand_decides_for_a_table_that_lacks_the_column() {
    let mut table = Table::of(&[r#"{"a":1}"#]);
    let columns = vec![("price".to_owned(), ColumnType::Double)];
    table.options = DecodeOptions { columns, ..DecodeOptions::default() }.into();
    assert_eq!(table.land(r#"{"price":3}"#).0, r#"{"price":3.0}"#);
}

#[test]
fn a_column_that_another_writer_made_meanwhile_stays_as_it_is() {
    let ours = Table::of(&[]);
    let learned = ours.decode(&records(0, [r#"{"n":1,"o":{"x":1}}"#])).discovered;
    let theirs = Table::of(&[r#"{"n":"text","o":{"X":"y"}}"#]);
    assert_eq!(learned.extend(&theirs.schema, &theirs.options), theirs.schema);
}

#[test]
fn nothing_discovered_changes_nothing() {
    let table = Table::of(&[r#"{"a":1}"#]);
    let decoded = table.decode(&records(0, [r#"{"a":"x","A":1,"b c":2,"d":[],"e":1e999}"#]));
    assert!(decoded.discovered.is_empty());
    assert_eq!(Discovered::default().extend(&table.schema, &table.options), table.schema);
}

#[test]
fn what_was_learned_from_a_flush_has_nothing_more_to_teach() {
    let events = [r#"{"a":1,"o":{"x":[{"y":1}]},"m":1}"#, r#"{"a":"x","o":{"x":[{"z":0.5}],"X":1},"m":"n"}"#];
    let table = Table::of(&events);
    assert!(table.decode(&records(0, events)).discovered.is_empty());
}

#[test]
fn metadata_of_the_table_is_kept() {
    use arrow_schema::{DataType, Field, Schema};
    let mut table = Table::of(&[r#"{"a":1}"#]);
    let mut fields: Vec<_> = table.schema.fields().iter().cloned().collect();
    let metadata = [("note".to_owned(), "kept".to_owned())];
    let nested = Field::new("x", DataType::Int64, true).with_metadata(metadata.clone().into());
    fields.push(
        Field::new("o", DataType::Struct(vec![nested].into()), true)
            .with_metadata(metadata.clone().into())
            .into(),
    );
    table.schema = Schema::new_with_metadata(fields, metadata.clone().into()).into();
    table.land(r#"{"o":{"x":1,"y":2}}"#);
    assert_eq!(table.schema.metadata(), &metadata.clone().into());
    let field = table.schema.field_with_name("o").unwrap();
    assert_eq!(field.metadata(), &metadata.into());
}
