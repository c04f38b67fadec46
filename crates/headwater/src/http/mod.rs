//! Status, metrics and control over HTTP.
//!
//! Invariant: handlers never block the runtime (the control plane's calls do, so they run on the blocking pool), and no
//! answer holds a row value or a secret. Start at [`Server::start`], then [`routes`].

pub mod guard;
mod listen;
pub mod metrics;

#[cfg(test)]
mod tests;

use crate::config::Span;
use crate::control::{Control, Refusal, RefusalKind};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};

/// Bytes of a request's body: a list of table names.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Threads that run handlers; nothing else in the process uses them.
const WORKERS: usize = 2;
/// Calls into the engine at the same time.
const CALLS_MAX: usize = 16;
/// Callers that wait at the same time; fewer than calls, so that status always answers.
const WAITS_MAX: usize = 12;
/// How long a caller waits unless it says otherwise.
const WAIT_DEFAULT: Duration = Duration::from_secs(60);
/// The longest that a caller may wait.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// How long any other request may take.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// How long requests in flight may take after the stop.
const STOP_MAX: Duration = Duration::from_millis(500);
/// Dead letters listed unless the caller says otherwise, and at most.
const LETTERS_DEFAULT: usize = 100;
const LETTERS_MAX: usize = 10_000;

/// What handlers share.
#[derive(Clone)]
pub struct Shared {
    control: Arc<dyn Control>,
    metrics: Option<PrometheusHandle>,
    waits: Arc<Semaphore>,
}

impl Shared {
    /// Serves `control`; `metrics` is appended to what the status says.
    pub fn new(control: Arc<dyn Control>, metrics: Option<PrometheusHandle>) -> Self {
        Shared { control, metrics, waits: Arc::new(Semaphore::new(WAITS_MAX)) }
    }
}

/// A listening server; ends when dropped.
pub struct Server {
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    address: SocketAddr,
}

impl Server {
    /// Serves `shared` at `listener` on threads of its own.
    pub fn start(listener: TcpListener, shared: Shared) -> std::io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(CALLS_MAX)
            .thread_name("http")
            .enable_all()
            .build()?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let app = routes(shared, address);
        runtime.spawn(async move {
            let served = axum::serve(listen::Limited::new(listener), app).with_graceful_shutdown(async {
                let _ = stopped.await;
            });
            if let Err(error) = served.await {
                tracing::error!(%error, "the HTTP server ended");
            }
        });
        Ok(Server { runtime: Some(runtime), stop: Some(stop), address })
    }

    /// Where it listens; the port is a real one when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(STOP_MAX);
        }
    }
}

/// All paths, behind the guard for a listener at `address`.
pub fn routes(shared: Shared, address: SocketAddr) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(scrape))
        .route("/sinks/{name}/pause", post(pause))
        .route("/sinks/{name}/resume", post(resume))
        .route("/sinks/{name}/rebuild", post(rebuild))
        .route("/sinks/{name}/dead-letters", get(letters).delete(drop_letters))
        .route("/sinks/{name}/dead-letters/replay", post(replay))
        .route("/sources/{name}/snapshot", post(snapshot))
        .layer(middleware::from_fn(limit_time))
        .route("/wait", post(wait))
        .fallback(async || Failure::of(StatusCode::NOT_FOUND, "there is nothing at this path", "See /status."))
        .method_not_allowed_fallback(async || {
            Failure::of(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path takes another method",
                "Reading is GET, acting is POST.",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(guard::Guard::new(address), guard::check))
        .with_state(shared)
}

/// An error as every path answers it.
#[derive(Debug, Serialize)]
pub struct Failure {
    #[serde(skip)]
    status: StatusCode,
    error: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
}

impl Failure {
    fn of(status: StatusCode, error: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { status, error: error.into(), hint: hint.into() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let status = match refusal.kind {
            RefusalKind::Unknown => StatusCode::NOT_FOUND,
            RefusalKind::Conflict => StatusCode::CONFLICT,
            RefusalKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            RefusalKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure { status, error: refusal.message, hint: refusal.hint }
    }
}

type Answer<T = Json<serde_json::Value>> = Result<T, Failure>;

/// Runs a call into the engine, which may block, on the pool that is made for it.
async fn call<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&dyn Control) -> Result<T, Refusal> + Send + 'static,
) -> Answer<T> {
    let control = shared.control.clone();
    match tokio::task::spawn_blocking(move || work(control.as_ref())).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Failure::of(StatusCode::INTERNAL_SERVER_ERROR, "the call ended early", "See the log.")),
    }
}

async fn limit_time(request: axum::extract::Request, next: middleware::Next) -> Response {
    match tokio::time::timeout(REQUEST_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failure::of(StatusCode::GATEWAY_TIMEOUT, "the request took too long", "").into_response(),
    }
}

async fn health() -> Json<serde_json::Value> {
    Json(json!({ "status": "up", "version": env!("CARGO_PKG_VERSION") }))
}

async fn ready(State(shared): State<Shared>) -> Answer<Response> {
    let status = call(&shared, |control| Ok(control.status())).await?;
    let missing = crate::control::missing(&status);
    let code = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((code, Json(json!({ "ready": missing.is_empty(), "missing": missing }))).into_response())
}

async fn status(State(shared): State<Shared>) -> Answer<Response> {
    Ok(Json(call(&shared, |control| Ok(control.status())).await?).into_response())
}

async fn scrape(State(shared): State<Shared>) -> Answer<Response> {
    let status = call(&shared, |control| Ok(control.status())).await?;
    let mut text = metrics::render(&status);
    if let Some(handle) = &shared.metrics {
        handle.run_upkeep();
        text.push_str(&handle.render());
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitQuery {
    timeout: Option<String>,
}

async fn wait(State(shared): State<Shared>, Query(query): Query<WaitQuery>) -> Answer {
    let limit = match query.timeout.as_deref().map(str::parse::<Span>) {
        None => WAIT_DEFAULT,
        Some(Ok(Span(limit))) => limit.min(WAIT_MAX),
        Some(Err(error)) => return Err(Failure::of(StatusCode::BAD_REQUEST, format!("timeout: {error}"), "")),
    };
    let Ok(_turn) = shared.waits.clone().try_acquire_owned() else {
        let error = format!("{WAITS_MAX} callers are waiting already");
        return Err(Failure::of(StatusCode::SERVICE_UNAVAILABLE, error, "Try again in a moment."));
    };
    call(&shared, move |control| control.wait(limit)).await?;
    Ok(Json(json!({ "applied": true })))
}

async fn pause(State(shared): State<Shared>, Path(name): Path<String>) -> Answer {
    call(&shared, move |control| control.pause(&name)).await?;
    Ok(Json(json!({ "paused": true })))
}

async fn resume(State(shared): State<Shared>, Path(name): Path<String>) -> Answer {
    call(&shared, move |control| control.resume(&name)).await?;
    Ok(Json(json!({ "resumed": true })))
}

async fn rebuild(State(shared): State<Shared>, Path(name): Path<String>) -> Answer {
    call(&shared, move |control| control.rebuild(&name)).await?;
    Ok(Json(json!({ "rebuilding": true })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LettersQuery {
    limit: Option<usize>,
}

async fn letters(State(shared): State<Shared>, Path(name): Path<String>, Query(query): Query<LettersQuery>) -> Answer {
    let limit = query.limit.unwrap_or(LETTERS_DEFAULT).min(LETTERS_MAX);
    let letters = call(&shared, move |control| control.dead_letters(&name, limit)).await?;
    Ok(Json(json!({ "dead_letters": letters })))
}

/// Which dead letters are replayed; none means all.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReplayRequest {
    sequences: Vec<u64>,
}

async fn replay(State(shared): State<Shared>, Path(name): Path<String>, body: axum::body::Bytes) -> Answer {
    let request: ReplayRequest = parse_body(&body, "{\"sequences\": [1, 2]}")?;
    let count = call(&shared, move |control| control.replay(&name, request.sequences)).await?;
    Ok(Json(json!({ "replayed": count })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DropQuery {
    /// With commas between them.
    sequences: Option<String>,
}

async fn drop_letters(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(query): Query<DropQuery>,
) -> Answer {
    let chosen: Result<Vec<u64>, _> = match query.sequences.as_deref() {
        None => Ok(Vec::new()),
        Some(text) => text.split(',').map(str::parse).collect(),
    };
    let chosen = chosen
        .map_err(|_| Failure::of(StatusCode::BAD_REQUEST, "sequences: expected numbers with commas between", ""))?;
    let count = call(&shared, move |control| control.drop_dead_letters(&name, &chosen)).await?;
    Ok(Json(json!({ "dropped": count })))
}

/// Reads a JSON body; none at all is the default.
fn parse_body<T: Default + serde::de::DeserializeOwned>(body: &[u8], example: &str) -> Answer<T> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("the body is not understood: {error}");
        Failure::of(StatusCode::BAD_REQUEST, message, format!("Send {example}."))
    })
}

/// Which tables a snapshot reads, `database.table` each; none means all.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SnapshotRequest {
    tables: Vec<String>,
}

async fn snapshot(State(shared): State<Shared>, Path(name): Path<String>, body: axum::body::Bytes) -> Answer {
    let request: SnapshotRequest = parse_body(&body, "{\"tables\": [\"db.table\"]}")?;
    call(&shared, move |control| control.snapshot(&name, &request.tables)).await?;
    Ok(Json(json!({ "requested": true })))
}
