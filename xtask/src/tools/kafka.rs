//! Apache Kafka, through Maven: one process as broker and controller.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::require;
use crate::server::{Ready, Server, free_port};
use crate::{command, paths, say};

const VERSION: &str = "4.1.0";
const POM: &str = include_str!("kafka-pom.xml");
const LOG4J: &str = include_str!("kafka-log4j2.properties");
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
/// Sixteen bytes in base64, as every cluster has; topics have ids of their own, so it can be the same each time.
const CLUSTER_ID: &str = "bGFrZXItdGVzdC1rYWZrYQ";

/// Kafka's jars on disk.
pub struct Install {
    java: PathBuf,
    libs: PathBuf,
}

/// Finds Java, and Kafka's jars in the cache; else fetches them.
pub fn install() -> Result<Install> {
    let java = require("java", &["openjdk-17-jre-headless"])?;
    let folder = paths::cache()?.join("kafka").join(VERSION);
    if fs::read_to_string(folder.join("pom.xml")).ok().as_deref() != Some(POM) {
        let maven = require("mvn", &["maven"])?;
        say(&format!("fetching Apache Kafka {VERSION} into {}", folder.display()));
        command::install_whole(&folder, |draft| fetch(&maven, draft))?;
    }
    Ok(Install { java, libs: folder.join("libs") })
}

fn fetch(maven: &Path, draft: &Path) -> Result<()> {
    let pom = draft.join("pom.xml");
    fs::write(&pom, POM)?;
    let libs = format!("-DoutputDirectory={}", draft.join("libs").display());
    command::run(Command::new(maven).args(["-q", "-B", "-f"]).arg(&pom).args([COPY, &libs]))
}

impl Install {
    /// Starts a broker with a data folder of its own under `folder`.
    pub fn start(&self, folder: &Path) -> Result<Kafka> {
        let port = free_port()?;
        let settings = folder.join("kafka.properties");
        fs::write(&settings, properties(port, free_port()?, &folder.join("kafka-data")))?;
        fs::write(folder.join("kafka-log4j2.properties"), LOG4J)?;
        let mut format = self.java(folder);
        format.args(["kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID, "-c"]);
        command::stdout_of(format.arg(&settings)).context("Kafka's data folder could not be formatted")?;
        let mut broker = self.java(folder);
        broker.arg("kafka.Kafka").arg(&settings);
        let ready = Ready::Says("Kafka Server started");
        let server = Server::start("Kafka", &mut broker, &folder.join("kafka.log"), ready)?;
        Ok(Kafka { server, port, libs: self.libs.clone() })
    }

    fn java(&self, folder: &Path) -> Command {
        let mut java = Command::new(&self.java);
        let log4j = folder.join("kafka-log4j2.properties");
        java.args(["-Xmx512m", "-XX:+UseSerialGC"])
            .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
            .arg("-cp")
            .arg(self.libs.join("*"));
        java
    }
}

/// A running broker.
pub struct Kafka {
    server: Server,
    port: u16,
    libs: PathBuf,
}

impl Kafka {
    /// Where clients begin.
    pub fn bootstrap_servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The folder of its jars, to start others from.
    pub fn libs(&self) -> String {
        self.libs.display().to_string()
    }

    /// Waits until it ends by itself.
    pub fn wait(self) -> Result<()> {
        self.server.wait()
    }
}

/// One node in both roles. Topics are made by tests, so that a wrong name stays an error; a message
/// may have the 16 MiB that `event::limits::EVENT_BYTES_MAX` allows, and its framing.
fn properties(port: u16, controller_port: u16, data: &Path) -> String {
    let listeners = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}");
    [
        "process.roles=broker,controller",
        "node.id=1",
        &format!("controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}"),
        "controller.listener.names=CONTROLLER",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        &format!("listeners={listeners}"),
        &format!("advertised.listeners={listeners}"),
        &format!("log.dirs={}", data.display()),
        "auto.create.topics.enable=false",
        "message.max.bytes=17825792",
        "replica.fetch.max.bytes=17825792",
        "log.retention.ms=-1",
        "log.segment.bytes=268435456",
        "log.cleaner.dedupe.buffer.size=16777216",
        "num.network.threads=2",
        "num.io.threads=4",
        "group.initial.rebalance.delay.ms=0",
        "offsets.topic.num.partitions=4",
        "offsets.topic.replication.factor=1",
        "transaction.state.log.num.partitions=4",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "share.coordinator.state.topic.replication.factor=1",
        "share.coordinator.state.topic.min.isr=1",
        "",
    ]
    .join("\n")
}
