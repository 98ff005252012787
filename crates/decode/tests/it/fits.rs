//! What fits a column and what stays in the residual, each by an example:
//! `check(events the table's columns come from, event, its row, its residual)`.

use decode::{ColumnType, DecodeOptions, Reason};

use crate::table::{Table, check};

#[test]
fn what_fits_leaves_no_residual() {
    let table = [r#"{"s":"x","l":1,"d":0.5,"b":true,"o":{"x":1},"a":["x"],"ao":[{"y":1}],"aa":[[1]]}"#];
    let event = r#"{"s":"é\n\ud83d\ude00","l":-9223372036854775808,"d":1e-7,"b":false,"o":{"x":2},"a":[],"ao":[{"y":1},null],"aa":[[],[1,null]]}"#;
    let row = r#"{"a":[],"aa":[[],[1,null]],"ao":[{"y":1},null],"b":false,"d":1e-7,"l":-9223372036854775808,"o":{"x":2},"s":"é\n😀"}"#;
    check(&table, event, row, None);
}

#[test]
fn null_counts_as_absent() {
    check(&[r#"{"a":1,"o":{"x":1}}"#], r#"{"a":null,"o":null,"new":null}"#, "{}", None);
    check(&[r#"{"a":1,"o":{"x":1}}"#], r#"{"o":{"x":null}}"#, r#"{"o":{}}"#, None);
}

#[test]
fn a_type_other_than_the_columns_stays_as_it_was_sent() {
    let table = [r#"{"s":"x","l":1,"d":0.5,"b":true,"o":{"x":1},"a":["x"]}"#];
    for value in ["true", "[ 1 ]", r#"{ "y" : 1 }"#] {
        for field in ["s", "l", "d"] {
            let event = format!("{{\"{field}\" : {value} }}");
            let table = check(&table, &event, "{}", Some(&format!("{{\"{field}\":{value}}}")));
            assert_eq!(table.conflict(field, Reason::WrongType), 1);
        }
    }
    for event in [
        r#"{"s":1}"#,
        r#"{"l":"1"}"#,
        r#"{"d":"1"}"#,
        r#"{"b":1}"#,
        r#"{"o":1}"#,
        r#"{"o":[1]}"#,
        r#"{"a":"x"}"#,
    ] {
        check(&table, event, "{}", Some(event));
    }
}

#[test]
fn a_fraction_in_a_long_column_stays_even_when_it_is_an_integer() {
    for number in ["1.5", "1.0", "1e2", "-0.0"] {
        let event = format!(r#"{{"l":{number}}}"#);
        let table = check(&[r#"{"l":1}"#], &event, "{}", Some(&event));
        assert_eq!(table.conflict("l", Reason::Fraction), 1);
    }
}

#[test]
fn an_integer_that_the_column_cannot_hold_exactly_stays() {
    for number in ["9223372036854775808", "-9223372036854775809", "1000000000000000000000", "-0"] {
        let event = format!(r#"{{"l":{number}}}"#);
        let table = check(&[r#"{"l":1}"#], &event, "{}", Some(&event));
        assert_eq!(table.conflict("l", Reason::InexactInteger), 1);
    }
    for number in ["9007199254740993", "-9223372036854775807", "123456789012345678901"] {
        let event = format!(r#"{{"d":{number}}}"#);
        let table = check(&[r#"{"d":0.5}"#], &event, "{}", Some(&event));
        assert_eq!(table.conflict("d", Reason::InexactInteger), 1);
    }
    check(&[r#"{"d":0.5}"#], r#"{"d":18446744073709551616}"#, r#"{"d":1.8446744073709552e19}"#, None);
    check(&[r#"{"d":0.5}"#], r#"{"d":-0}"#, r#"{"d":-0.0}"#, None);
}

#[test]
fn a_number_no_type_holds_stays_and_makes_no_column() {
    for number in ["1e400", "-1e400", "1e-400"] {
        let event = format!(r#"{{"d":{number}}}"#);
        let table = check(&[r#"{"d":0.5}"#], &event, "{}", Some(&event));
        assert_eq!(table.conflict("d", Reason::NumberOutOfRange), 1);
        assert_eq!(check(&[], &event, "{}", Some(&event)).columns(), "");
    }
}

#[test]
fn an_array_whose_elements_do_not_agree_stays_whole() {
    let table = [r#"{"a":[1],"ao":[{"x":1}],"s":{"in":["t"]}}"#];
    for event in [
        r#"{"a":[1,"x"]}"#,
        r#"{"a":[1,2.5]}"#,
        r#"{"a":[[1]]}"#,
        r#"{"ao":[{"x":1},{"x":"y"}]}"#,
        r#"{"ao":[{"x":1},{}]}"#,
        r#"{"ao":[{"x":1},{"x y":1}]}"#,
        r#"{"ao":[{"x":1},{"X":1}]}"#,
        r#"{"ao":[{"x":1},2]}"#,
    ] {
        let table = check(&table, event, "{}", Some(event));
        assert_eq!(table.conflicts.iter().map(|(_, _, count)| count).sum::<u64>(), 1, "{event}");
    }
    check(&table, r#"{"s":{"in":["t",1]}}"#, r#"{"s":{}}"#, Some(r#"{"s":{"in":["t",1]}}"#));
    assert_eq!(check(&[], r#"{"a":[1,"x"]}"#, "{}", Some(r#"{"a":[1,"x"]}"#)).columns(), "");
}

#[test]
fn a_push_that_fails_in_the_middle_of_an_array_leaves_nothing_behind() {
    let mut table = Table::of(&[r#"{"a":[{"s":"x","l":[1],"b":true,"d":0.5}]}"#]);
    let good = r#"{"a":[{"s":"y","l":[1,2],"b":false,"d":1.5},{"s":"z","l":[]}]}"#;
    let bad = r#"{"a":[{"s":"n","l":[9,9],"b":true,"d":7.5},{"s":"\ud800","l":[9]}]}"#;
    table.flush(&[&[good, bad, good]]);
    for (at, event) in [good, bad, good].iter().enumerate() {
        crate::oracle::uphold(event, &table.batches[0], at, true);
    }
}

#[test]
fn an_empty_object_stays() {
    let table = check(&[r#"{"o":{"x":1}}"#], r#"{"o":{}}"#, "{}", Some(r#"{"o":{}}"#));
    assert_eq!(table.conflict("o", Reason::EmptyObject), 1);
    assert_eq!(
        check(&[], r#"{"o":{},"p":{"q":null}}"#, "{}", Some(r#"{"o":{},"p":{"q":null}}"#)).columns(),
        ""
    );
}

#[test]
fn only_the_leaf_that_does_not_fit_stays_in_its_own_place() {
    check(
        &[r#"{"a":{"b":{"c":1,"d":1}},"z":1}"#],
        r#"{"a":{"b":{"c":"no", "d":2}},"z":3}"#,
        r#"{"a":{"b":{"d":2}},"z":3}"#,
        Some(r#"{"a":{"b":{"c":"no"}}}"#),
    );
}

#[test]
fn several_that_do_not_fit_keep_their_order_and_spelling() {
    check(
        &[r#"{"a":{"x":1,"y":1},"b":1,"c":1}"#],
        r#"{ "b":"\u0062\/", "a":{ "\u0078":[ 1 ], "y":2, "x y": null, "z z":1E5 }, "c":3, "d d":{ } }"#,
        r#"{"a":{"y":2},"c":3}"#,
        Some(r#"{"b":"\u0062\/","a":{"\u0078":[ 1 ],"z z":1E5},"d d":{ }}"#),
    );
}

#[test]
fn a_name_that_differs_only_by_case_stays() {
    let table = check(
        &[r#"{"price":1,"o":{"x":1}}"#],
        r#"{"Price":2,"o":{"X":3}}"#,
        r#"{"o":{}}"#,
        Some(r#"{"Price":2,"o":{"X":3}}"#),
    );
    assert_eq!(table.conflict("Price", Reason::NameCase), 1);
    assert_eq!(table.conflict("o.X", Reason::NameCase), 1);
}

#[test]
fn a_name_that_delta_forbids_stays() {
    for name in
        ["a b", "a,b", "a;b", "a{b", "a}b", "a(b", "a)b", r"a\nb", r"a\tb", "a=b", "", r"\u0000", r"\ud800"]
    {
        let event = format!(r#"{{"{name}":1,"o":{{"{name}":2}},"ok":3}}"#);
        let table = check(
            &[r#"{"o":{"x":1},"ok":1}"#],
            &event,
            r#"{"o":{},"ok":3}"#,
            Some(&format!(r#"{{"{name}":1,"o":{{"{name}":2}}}}"#)),
        );
        assert_eq!(table.conflict(name, Reason::NameForbidden), 1);
    }
    let long = "n".repeat(300);
    check(&[], &format!(r#"{{"{long}":1}}"#), "{}", Some(&format!(r#"{{"{long}":1}}"#)));
    check(&[], r#"{"a.b":1,"it's":2,"日本":3}"#, r#"{"a.b":1,"it's":2,"日本":3}"#, None);
}

#[test]
fn a_name_of_a_system_column_stays() {
    let event = r#"{"_partition":1,"_offset":2,"_received_at":3,"_time":4,"_residual":{"a":1},"event_date":"x","_Time":5,"_ID":"y"}"#;
    let table = check(&[], event, "{}", Some(event));
    assert_eq!(table.conflict("_residual", Reason::SystemColumn), 1);
    check(&[], r#"{"o":{"_time":1,"event_date":"d"}}"#, r#"{"o":{"_time":1,"event_date":"d"}}"#, None);
}

#[test]
fn columns_beyond_the_most_allowed_stay() {
    let options = DecodeOptions { columns_max: 2, ..DecodeOptions::default() };
    let mut table = Table::new(options).with(&[r#"{"a":1,"o":{"x":1}}"#]);
    let (row, residual) = table.land(r#"{"a":2,"o":{"x":3,"y":4},"b":5}"#);
    assert_eq!(row, r#"{"a":2,"o":{"x":3}}"#);
    assert_eq!(residual.unwrap(), r#"{"o":{"y":4},"b":5}"#);
    assert_eq!(table.conflict("o.y", Reason::ColumnsMax), 1);
    assert_eq!(table.conflict("b", Reason::ColumnsMax), 1);
}

#[test]
fn what_lies_deeper_than_columns_may_stays() {
    let options = DecodeOptions { depth_max: 2, ..DecodeOptions::default() };
    let mut table = Table::new(options).with(&[r#"{"a":{"b":1},"l":[1]}"#]);
    let (row, residual) =
        table.land(r#"{"a":{"b":2,"c":{"d":1}},"l":[2],"n":[[1]],"m":[{"x":1}],"e":{"f":{"g":1}}}"#);
    assert_eq!(row, r#"{"a":{"b":2},"l":[2]}"#);
    assert_eq!(residual.unwrap(), r#"{"a":{"c":{"d":1}},"n":[[1]],"m":[{"x":1}],"e":{"f":{"g":1}}}"#);
    assert_eq!(table.conflict("a.c", Reason::DepthMax), 1);
    assert_eq!(table.columns(), "a struct<b long>, l list<long>");
}

#[test]
fn half_a_surrogate_pair_stays() {
    let table = check(&[r#"{"s":"x"}"#], r#"{"s":"a\ud800"}"#, "{}", Some(r#"{"s":"a\ud800"}"#));
    assert_eq!(table.conflict("s", Reason::LoneSurrogate), 1);
    assert_eq!(check(&[], r#"{"s":"\ud800"}"#, "{}", Some(r#"{"s":"\ud800"}"#)).columns(), "");
}

#[test]
fn what_a_string_column_refused_does_not_leak_into_the_next_row() {
    let mut table = Table::of(&[r#"{"s":"x"}"#]);
    let events = [r#"{"s":"secret\ud800"}"#, r#"{"s":"y"}"#];
    table.flush(&[&events]);
    for (at, event) in events.iter().enumerate() {
        crate::oracle::uphold(event, &table.batches[0], at, true);
    }
}

#[test]
fn of_equal_keys_the_last_counts() {
    let table = [r#"{"a":1,"o":{"x":1},"ao":[{"x":1}]}"#];
    let landed =
        check(&table, r#"{"a":1,"a":"x","a":2,"o":{"x":1,"\u0078":2}}"#, r#"{"a":2,"o":{"x":2}}"#, None);
    assert_eq!(landed.conflict("a", Reason::DuplicateKey), 2);
    assert_eq!(landed.conflict("o.x", Reason::DuplicateKey), 1);
    check(&table, r#"{"a":1,"a":"x"}"#, "{}", Some(r#"{"a":"x"}"#));
    check(&table, r#"{"o":{"x":1},"o":2}"#, "{}", Some(r#"{"o":2}"#));
    check(&table, r#"{"o":2,"o":{"x":1}}"#, r#"{"o":{"x":1}}"#, None);
    check(&table, r#"{"a":1,"a":null}"#, "{}", None);
    check(&table, r#"{"a b":1,"a b":2}"#, "{}", Some(r#"{"a b":2}"#));
    check(&table, r#"{"ao":[{"x":"no","x":2}]}"#, r#"{"ao":[{"x":2}]}"#, None);
}

#[test]
fn of_equal_keys_the_last_counts_among_more_keys_than_are_remembered() {
    let keys: Vec<_> = (0..5_000).map(|number| format!(r#""k k{number}":1"#)).collect();
    let event = format!(r#"{{{},"k k4999":2,"k k0":3}}"#, keys.join(","));
    let (row, residual) = Table::of(&[]).land(&event);
    assert_eq!(row, "{}");
    let residual: serde_json::Value = serde_json::from_str(&residual.unwrap()).unwrap();
    assert_eq!((residual["k k4999"].as_i64(), residual["k k0"].as_i64()), (Some(2), Some(3)));
}

#[test]
fn a_type_fixed_by_hand_holds_from_the_first_event() {
    let columns = vec![("price".to_owned(), ColumnType::Double), ("code".to_owned(), ColumnType::String)];
    let mut table = Table::new(DecodeOptions { columns, ..DecodeOptions::default() });
    assert_eq!(
        table.land(r#"{"price":1,"code":7}"#),
        (r#"{"price":1.0}"#.to_owned(), Some(r#"{"code":7}"#.to_owned()))
    );
    assert_eq!(table.columns(), "price double, code string");
}

#[test]
fn a_column_of_a_foreign_type_keeps_its_values_in_the_residual() {
    use arrow_schema::{DataType, Field, Schema};
    let mut table = Table::of(&[r#"{"a":1}"#]);
    let mut fields: Vec<_> = table.schema.fields().iter().cloned().collect();
    fields.push(Field::new("day", DataType::Date32, true).into());
    table.schema = Schema::new(fields).into();
    assert_eq!(
        table.land(r#"{"a":2,"day":"2024-01-01"}"#),
        (r#"{"a":2}"#.to_owned(), Some(r#"{"day":"2024-01-01"}"#.to_owned()))
    );
}
