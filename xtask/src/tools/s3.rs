//! An S3 server, through Go: versitygw, whose conditional writes are atomic, on a folder.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::require;
use crate::server::{Ready, Server, free_port};
use crate::{command, paths, say};

const VERSION: &str = "1.8.0";
const BUCKET: &str = "lake";
const REGION: &str = "us-east-1";
const ACCESS_KEY_ID: &str = "laker-test";
const SECRET_ACCESS_KEY: &str = "laker-test-secret";
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The server's program on disk.
pub struct Install {
    program: PathBuf,
}

/// Finds versitygw in the cache; else builds it.
pub fn install() -> Result<Install> {
    let folder = paths::cache()?.join("versitygw").join(VERSION);
    let program = folder.join("versitygw");
    if !program.is_file() {
        let go = require("go", &["golang-go"])?;
        say(&format!("building versitygw {VERSION} into {}", folder.display()));
        command::install_whole(&folder, |draft| build(&go, draft))?;
    }
    Ok(Install { program })
}

fn build(go: &Path, draft: &Path) -> Result<()> {
    let package = format!("github.com/versity/versitygw/cmd/versitygw@v{VERSION}");
    command::run(Command::new(go).env("GOBIN", draft).args(["install", &package]))
}

impl Install {
    /// Starts a server with one bucket under `folder`.
    pub fn start(&self, folder: &Path) -> Result<S3> {
        let port = free_port()?;
        let data = folder.join("s3-data");
        fs::create_dir_all(data.join(BUCKET))?;
        let mut gateway = Command::new(&self.program);
        gateway
            .env("ROOT_ACCESS_KEY", ACCESS_KEY_ID)
            .env("ROOT_SECRET_KEY", SECRET_ACCESS_KEY)
            .args(["--port", &format!("127.0.0.1:{port}"), "--region", REGION, "--health", "/health"])
            .arg("posix")
            .arg(&data);
        let answers = || is_healthy(port).unwrap_or(false);
        let ready = Ready::Answers(&answers);
        let server = Server::start("versitygw", &mut gateway, &folder.join("s3.log"), ready)?;
        Ok(S3 { server, port, program: self.program.clone() })
    }
}

/// A running S3 server.
pub struct S3 {
    server: Server,
    port: u16,
    program: PathBuf,
}

impl S3 {
    /// What a test has to know, as `LAKER_TEST_S3` carries it.
    pub fn description(&self) -> String {
        json!({
            "endpoint": self.endpoint(),
            "bucket": BUCKET,
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SECRET_ACCESS_KEY,
            "region": REGION,
        })
        .to_string()
    }

    /// The same as variables every S3 client knows.
    pub fn aws_env(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY.into()),
            ("AWS_REGION", REGION.into()),
        ]
    }

    /// The program, to start others from.
    pub fn program(&self) -> String {
        self.program.display().to_string()
    }

    /// Waits until it ends by itself.
    pub fn wait(self) -> Result<()> {
        self.server.wait()
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn is_healthy(port: u16) -> Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(&status == b"HTTP/1.1 200")
}
