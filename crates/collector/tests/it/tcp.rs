//! Over a real connection: what HTTP/1.1 itself brings with it.

use std::net::SocketAddr;

use axum::Router;
use event::{Clock, limits};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::{Fixture, small_limits};

pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let shutdown = async { stopped.await.unwrap_or(()) };
            axum::serve(listener, router).with_graceful_shutdown(shutdown).await.unwrap();
        });
        Self { address, stop, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        let ended = Clock::system().timeout(limits::SHUTDOWN_GRACE, self.task).await;
        ended.expect("the server ends once its connections have").unwrap();
    }
}

pub struct Answered {
    pub status: u16,
    pub json: Value,
    /// Whether the server said that it closes the connection.
    pub closes: bool,
}

/// HTTP/1.1 by hand, so that a test decides every byte.
pub struct Client {
    connection: BufReader<TcpStream>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { connection: BufReader::new(TcpStream::connect(address).await.unwrap()) }
    }

    pub async fn post(&mut self, path: &str, body: &str) -> Answered {
        let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
        self.write(format!("{head}{body}").as_bytes()).await;
        self.answer().await
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.connection.get_mut().write_all(bytes).await.unwrap();
    }

    pub async fn answer(&mut self) -> Answered {
        let head = self.head().await;
        let status = head[0].split(' ').nth(1).unwrap().parse().unwrap();
        let header = |name: &str| {
            let found = head
                .iter()
                .filter_map(|line| line.split_once(": "))
                .find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned())
        };
        let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
        self.connection.read_exact(&mut body).await.unwrap();
        let json = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Answered { status, json, closes: header("connection").as_deref() == Some("close") }
    }

    async fn head(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let count = self.connection.read_line(&mut line).await.unwrap();
            assert!(count > 0, "the connection ended after {lines:?}");
            match line.trim_end() {
                "" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }

    /// Whether the server has closed the connection; waits for it.
    pub async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.connection.read_to_end(&mut rest).await.is_ok_and(|count| count == 0)
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests_good_and_bad() {
    let fixture = Fixture::new();
    let server = Server::start(fixture.router.clone()).await;
    let mut client = Client::connect(server.address()).await;
    for round in 0..3 {
        let answer = client.post("/events", "{\"a\":1}").await;
        assert_eq!((answer.status, &answer.json["receipt"]), (200, &format!("logs.0.{round}").into()));
        assert_eq!(client.post("/events", "broken").await.status, 400);
        assert_eq!(client.post("/events/none", "{}").await.status, 404);
    }
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_chunked_body_needs_no_length() {
    let fixture = Fixture::new();
    let server = Server::start(fixture.router.clone()).await;
    let mut client = Client::connect(server.address()).await;
    let head = "POST /events HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write(head.as_bytes()).await;
    for piece in ["{\"a\"", ":1}\n{\"", "a\":2}\n"] {
        client.write(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await;
    }
    client.write(b"0\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, &answer.json["accepted"]), (200, &2.into()));
    assert_eq!(fixture.logged(), [r#"{"a":1}"#, r#"{"a":2}"#]);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_before_it_sends() {
    let fixture = Fixture::with_limits(small_limits());
    let server = Server::start(fixture.router.clone()).await;

    let mut client = Client::connect(server.address()).await;
    let head = |length: usize| {
        format!(
            "POST /events HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    client.write(head(1_000_000).as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, &answer.json["code"]), (413, &"too_large".into()));

    let mut client = Client::connect(server.address()).await;
    client.write(head(2).as_bytes()).await;
    assert_eq!(client.answer().await.status, 100);
    client.write(b"{}").await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_client_that_sends_far_too_much_still_gets_to_see_why() {
    let fixture = Fixture::with_limits(small_limits());
    let server = Server::start(fixture.router.clone()).await;
    let mut client = Client::connect(server.address()).await;
    // More than the buffers of both ends hold: it fits only if the server goes on reading.
    let body = " ".repeat(32 * 1024 * 1024);
    let answer = client.post("/events", &body).await;
    assert_eq!((answer.status, &answer.json["code"]), (413, &"too_large".into()));
    assert_eq!(client.post("/events", "{}").await.status, 200, "the connection must still be good");
}

#[tokio::test]
async fn a_client_cut_off_in_its_body_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let server = Server::start(fixture.router.clone()).await;
    let mut client = Client::connect(server.address()).await;
    client.write(b"POST /events HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{\"a\":1}\n").await;
    drop(client);
    // The stopped server waits for the request, so that its end is seen.
    server.stop().await;
    fixture.collector.stop_accepting();
    fixture.collector.drained().await;
    assert!(fixture.logged().is_empty());
}

#[tokio::test]
async fn a_client_that_is_sent_away_at_shutdown_has_its_connection_closed() {
    let fixture = Fixture::new();
    let server = Server::start(fixture.router.clone()).await;
    let mut client = Client::connect(server.address()).await;
    fixture.collector.stop_accepting();
    let answer = client.post("/events", "{}").await;
    assert_eq!((answer.status, answer.closes), (503, true));
    assert!(client.is_closed().await);
    server.stop().await;
}
