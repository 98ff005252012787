//! Kafka and S3, installed and running.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::tools::Tools;
use crate::tools::kafka::Kafka;
use crate::tools::s3::S3;
use crate::{paths, say};

/// The real servers of one run. Dropping ends them.
pub struct Servers {
    kafka: Option<Kafka>,
    s3: Option<S3>,
}

impl Servers {
    /// Starts what is installed; data and logs go to `folder`.
    pub fn start(tools: &Tools, folder: &Path) -> Result<Self> {
        let kafka = tools.kafka.as_ref().map(|install| install.start(folder)).transpose()?;
        let s3 = tools.s3.as_ref().map(|install| install.start(folder)).transpose()?;
        Ok(Self { kafka, s3 })
    }

    /// What tells a test where the servers are.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let kafka = self.kafka.iter().map(|kafka| ("LAKER_TEST_KAFKA", kafka.bootstrap_servers()));
        let s3 = self.s3.iter().map(|s3| ("LAKER_TEST_S3", s3.description()));
        // For tests that start servers of their own, to kill them.
        let libs = self.kafka.iter().map(|kafka| ("LAKER_TEST_KAFKA_LIBS", kafka.libs()));
        let program = self.s3.iter().map(|s3| ("LAKER_TEST_S3_PROGRAM", s3.program()));
        kafka.chain(s3).chain(libs).chain(program).collect()
    }

    /// Sets [`Self::env`] on a command.
    pub fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.env())
    }
}

/// `cargo xtask serve`.
pub fn serve() -> Result<()> {
    let tools = Tools::install_servers()?;
    let folder = paths::run_folder()?;
    let servers = Servers::start(&tools, &folder)?;
    say(&format!("running; data and logs are in {}; Ctrl-C ends it\n", folder.display()));
    for (name, value) in servers.env() {
        say(&format!("export {name}='{value}'"));
    }
    if let Some(s3) = &servers.s3 {
        for (name, value) in s3.aws_env() {
            say(&format!("export {name}='{value}'"));
        }
    }
    // Ctrl-C reaches them as it reaches us: all are one group of the terminal.
    match servers {
        Servers { kafka: Some(kafka), s3: _s3 } => kafka.wait(),
        Servers { kafka: None, s3: Some(s3) } => s3.wait(),
        Servers { kafka: None, s3: None } => Ok(()),
    }
}
