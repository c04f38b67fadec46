//! `headwater run`: the instance itself.
//!
//! Invariant: it ends only when it is told to; a source or a target that is away is tried again for ever. Start at
//! [`Run::run`].

use super::output::failure;
use super::{Global, Outcome, output};
use crate::http::{Server, Shared};
use crate::{config, instance, log};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use tokio::signal::unix::{SignalKind, signal};

/// Reads every source into its journal and keeps every sink in step, until Ctrl-C or SIGTERM.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Stopping drains and checkpoints within 5 s; a second signal ends it at once, and nothing is lost by that either: the
next start resumes exactly where the journal and the targets stand. Run `headwater check` first.")]
pub struct Run {}

impl Run {
    pub fn run(self, global: &Global) -> Outcome {
        let config = config::load(&global.config)?;
        log::start(&config.settings.log);
        #[cfg(feature = "failpoints")]
        let _scenario = fail_points();
        let signals = signals().map_err(|error| miette::miette!("signals cannot be received: {error}"))?;
        let listen = config.settings.http.listen;
        let listener = TcpListener::bind(listen).map_err(|error| {
            failure(
                format!("{listen} cannot be listened at: {error}"),
                "Another instance may be running; `headwater status` asks it. Or set http.listen to another port.",
            )
        })?;
        if !listen.ip().is_loopback() {
            tracing::warn!(%listen, "everyone who can reach this address can read the status and control the instance");
        }
        // Failing means that a recorder is installed already, which only happens in tests.
        let metrics = PrometheusBuilder::new().install_recorder().ok();
        let instance = Arc::new(instance::Instance::start(&config).map_err(output::stopped)?);
        let server = Server::start(listener, Shared::new(instance.clone(), metrics))
            .map_err(|error| miette::miette!("HTTP cannot be served: {error}"))?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            http = %server.address(),
            data_dir = %config.settings.data_dir.display(),
            sources = config.sources.len(),
            sinks = config.sinks.len(),
            "headwater runs"
        );
        let received = signals.recv().unwrap_or("the end of the signal thread");
        tracing::info!(signal = received, "stopping; a second signal ends it at once");
        instance.stop().map_err(output::stopped)?;
        drop(server);
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    }
}

/// Sets up what `FAILPOINTS` says. A panic, in whichever thread, ends the process where it stands, as a crash does.
#[cfg(feature = "failpoints")]
fn fail_points() -> fail::FailScenario<'static> {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
    fail::FailScenario::setup()
}

/// Hands out the first SIGINT or SIGTERM; the second ends the process.
fn signals() -> std::io::Result<Receiver<&'static str>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let (tell, told) = sync_channel(1);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                }
            };
            let _ = tell.send(next().await);
            next().await;
        });
        std::process::exit(1);
    })?;
    Ok(told)
}
