//! Serves a folder of bare repositories and a scripted model for a shell script, until it is killed:
//! `loopback [--repos DIR] [--script FILE] [--latency-ms N]`. The first line of its output is their URLs as JSON.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use farm_demo::git_http::GitHttp;
use farm_demo::model_server::ModelServer;
use farm_demo::model_server::script::Script;

#[derive(Default)]
struct Options {
    repos: Option<PathBuf>,
    script: Option<PathBuf>,
    latency: Duration,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self::default();
        while let Some(flag) = words.next() {
            let value = words.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--repos" => options.repos = Some(value.into()),
                "--script" => options.script = Some(value.into()),
                "--latency-ms" => options.latency = Duration::from_millis(value.parse()?),
                _ => return Err(format!("unknown flag {flag}").into()),
            }
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read(std::env::args().skip(1))?;
    let git = match &options.repos {
        Some(root) => Some(GitHttp::start(root, None).await?),
        None => None,
    };
    let model = match &options.script {
        Some(path) => Some(ModelServer::start(Script::read(path)?, options.latency).await?),
        None => None,
    };
    let urls = serde_json::json!({
        "git": git.as_ref().map(|git| git.url("")),
        "model": model.as_ref().map(ModelServer::url),
    });
    let mut out = std::io::stdout();
    writeln!(out, "{urls}")?;
    out.flush()?;
    std::future::pending::<()>().await;
    Ok(())
}
