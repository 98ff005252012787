//! What a role says when it starts.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::role::Roles;
use crate::settings::{LogUrl, Settings, TableFormat};

/// What runs, where the data is, and the commands to type next.
pub fn banner(settings: &Settings, roles: Roles, address: SocketAddr) -> String {
    let url = format!("http://{address}");
    let mut text = format!("laker {} is running\n\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:8} {value}");
    };
    if roles.collect {
        line("events", &format!("POST {url}/events"));
    }
    if roles.serve {
        line("page", &format!("{url}/"));
    }
    line("log", &describe_log(&settings.log));
    if roles.load || roles.serve {
        line("lake", &settings.lake);
    }
    for stream in &settings.streams {
        let format = match stream.format {
            TableFormat::Delta => "Delta",
            TableFormat::Parquet => "Parquet",
        };
        let lands = format!("lands in table {} ({format}) within {:?}", stream.table, stream.flush.age_max);
        line(
            "stream",
            &format!(
                "{} {}",
                stream.name,
                if roles.load { lands } else { format!("of topic {}", stream.topic) }
            ),
        );
    }
    if roles.collect && roles.serve {
        text.push_str(&next_commands(&url));
    }
    text.push_str("\nCtrl-C lands what is there and ends.\n");
    text
}

fn describe_log(log: &LogUrl) -> String {
    match log {
        LogUrl::Folder(folder) => format!("folder {}", folder.display()),
        LogUrl::Kafka(brokers) => format!("Kafka at {brokers}"),
    }
}

fn next_commands(url: &str) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "laker".to_owned());
    let server = if url == "http://127.0.0.1:7777" { String::new() } else { format!(" --server {url}") };
    format!(
        "\nType in another terminal:\n  \
         curl -d '{{\"user_id\":\"u1\",\"action\":\"search\",\"keyword\":\"jazz\"}}' {url}/events\n  \
         {program} query{server} \"SELECT user_id, action, keyword, _time FROM logs\"\n"
    )
}
