use event::Clock;
use table::TableError;
use table::lake::Rounds;

use crate::lakes;

#[tokio::test]
async fn a_folder_keeps_conditional_writes_and_is_left_clean() {
    let (folder, lake) = lakes::folder();
    lake.probe(Rounds::THOROUGH, &Clock::system()).await.unwrap();
    let files = walk(folder.path());
    assert!(files.is_empty(), "{files:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn the_test_server_keeps_conditional_writes() {
    let Some(lake) = lakes::bucket() else { return };
    lake.probe(Rounds::THOROUGH, &Clock::system()).await.unwrap();
}

/// Each wrong setting is told apart from the others, with what to change.
#[tokio::test]
async fn a_lake_that_cannot_be_reached_says_why_and_what_to_do() {
    let Some((bucket, variables)) = lakes::s3_environment() else { return };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closed = format!("http://{closed}");
    for (bucket, name, value, said) in [
        ("laker-no-such-bucket", "AWS_REGION", "us-east-1", "the bucket does not exist"),
        (&*bucket, "AWS_ACCESS_KEY_ID", "nobody", "correct AWS_ACCESS_KEY_ID"),
        (&*bucket, "AWS_SECRET_ACCESS_KEY", "wrong", "correct AWS_SECRET_ACCESS_KEY"),
        (&*bucket, "AWS_ENDPOINT_URL", &closed, "cannot connect"),
    ] {
        let mut variables = variables.clone();
        variables.insert(name.to_owned(), value.to_owned());
        let lake = table::Lake::open(&format!("s3://{bucket}/prefix"), &variables).unwrap();
        let refused = lake.probe(Rounds::START, &Clock::system()).await.unwrap_err();
        assert!(refused.to_string().contains(said), "{refused}");
        let unavailable = matches!(refused, TableError::Unavailable { .. });
        assert_eq!(unavailable, name == "AWS_ENDPOINT_URL", "{refused}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let variables = [
        ("AWS_ENDPOINT_URL", format!("http://{}", silent.local_addr().unwrap())),
        ("AWS_ACCESS_KEY_ID", "key".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    let lake = table::Lake::open("s3://bucket", &variables.into_iter().collect()).unwrap();
    let refused = lake.reach(&Clock::system()).await.unwrap_err();
    assert!(
        matches!(refused, TableError::Unavailable { .. }) && refused.to_string().contains("did not answer"),
        "{refused}"
    );
}
